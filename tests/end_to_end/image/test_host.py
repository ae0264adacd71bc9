"""The verbs on a host that has them in the image alone, by `sbatch/mlipilot`: Slurm answers there, too."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.cluster import IMAGE, Site
from tests.end_to_end.image.conftest import MARKS, OF_TWO_LINEAGES, SMALL, MakeSite
from tests.end_to_end.reproductions import check_outcome

pytestmark = MARKS


def verb(site: Site, cwd: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """What a user gets who has Apptainer and Slurm's commands, and no MLIPilot on the PATH."""
    user = {"HOME": str(cwd), "PATH": "/usr/local/bin:/usr/bin:/bin", "MLIPILOT_IMAGE": str(IMAGE)}
    if "SLURM_CONF" in os.environ:
        user["SLURM_CONF"] = os.environ["SLURM_CONF"]
    command = [str(site.root / "sbatch" / "mlipilot"), *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=user, capture_output=True, text=True, timeout=600)


@pytest.fixture
def elsewhere(two_lineages: Site) -> Any:
    """The run, in a directory that Apptainer shows no container by itself."""
    folder = Path("/srv") / two_lineages.name
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this user cannot write in /srv")
    yield Path(shutil.copytree(two_lineages.run.root, folder / "tiny", symlinks=True))
    shutil.rmtree(folder)


@OF_TWO_LINEAGES
def test_a_run_on_scratch_is_verified_and_slurm_itself_is_asked(
    two_lineages: Site, elsewhere: Path, login: Path
) -> None:
    done = verb(two_lineages, login, "verify", elsewhere, "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0 and found["ok"], done
    said = " ".join(found["notes"])
    assert "not on the PATH" not in said
    disabled = "accounting storage is disabled" in said  # Slurm's own words
    assert disabled or found["anchors"]["in_accounts"] == found["anchors"]["in_ledger"] > 0


@OF_TWO_LINEAGES
def test_the_doctor_sees_the_cluster_and_tries_containers(two_lineages: Site) -> None:
    words = ("doctor", "campaigns/tiny.yaml", "--set", "jobs.backend=slurm", "--json")
    done = verb(two_lineages, two_lineages.root, *words)
    found = {check["name"]: check for check in json.loads(done.stdout)}
    assert done.returncode == 0, done
    for name in ("slurm", "partition", "submit", "apptainer", "image", "isolation"):
        assert found[name]["status"] == "ok", found[name]


def test_a_reproduction_knows_that_it_is_in_the_recorded_image(make_site: MakeSite, tmp_path: Path) -> None:
    """Of a campaign that lets its jobs have a network: in one container they share that of the process.

    The image builds its data set, too: its numbers are not those of a host with other packages.
    """
    jobs = SMALL | {"require_no_network": False}
    site = make_site(data=None, budget={"iterations": 1, "optimizer_steps": 8}, jobs=jobs)
    site.sbatch()
    site.wait_until((site.run.lineage(0).iteration(0) / "verdict.json").exists)
    done = verb(site, tmp_path, "reproduce", site.run.root, "--iteration", "0", "--json")
    assert done.stdout, done.stderr
    outcome = json.loads(done.stdout)
    check_outcome(outcome)
    assert outcome["environment"]["where"] == "inside the image"
    assert list(tmp_path.glob("reproduction-tiny-0000"))
