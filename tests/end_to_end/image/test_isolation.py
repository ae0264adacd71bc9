"""Sites that bind and hand on what nobody asked for: what a candidate sees then, and who is told of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mlipilot.jobs.job_files import JobResult, read_result
from tests.end_to_end.cluster import Site
from tests.end_to_end.conftest import mlipilot
from tests.end_to_end.image.conftest import MARKS, SMALL

pytestmark = MARKS

# The baseline's code, which takes what it finds and does not train.
THIEF = """
import os, pathlib, socket
secret = pathlib.Path({secret!r})
print("read", secret.read_text() if secret.exists() else "nothing")
print("variables", *sorted(os.environ))
try:
    socket.create_connection(("127.0.0.1", 6817), 5)
    print("called slurmctld")
except OSError as error:
    print("called nobody:", error)
raise SystemExit("that was all")
"""
MakeThief = Callable[..., Site]


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    (tmp_path / "srv").mkdir()
    (tmp_path / "srv" / "secret").write_text("swordfish")
    return tmp_path / "srv" / "secret"


@pytest.fixture
def thief(tiny_data: Path, tmp_path: Path, secret: Path) -> Iterator[MakeThief]:
    """A site whose campaign has a thief as its baseline; `jobs` beside those of a small campaign."""
    sites = []

    def make(**jobs: Any) -> Site:
        budget = {"iterations": 0, "optimizer_steps": 8}
        site = Site(
            tmp_path / "site", data=tiny_data, seeds=[1], recipe="recipe", budget=budget, jobs=SMALL | jobs
        )
        recipe = site.root / "campaigns" / "recipe"
        recipe.mkdir()
        (recipe / "recipe.yaml").write_text("{}\n")
        (recipe / "train.py").write_text(THIEF.format(secret=str(secret)))
        sites.append(site)
        return site

    yield make
    for site in sites:
        site.end_all()


@pytest.fixture
def wrapper(tmp_path: Path) -> Callable[[str], str]:
    """A site's own `apptainer`, in front of the real one on its jobs' PATH; returns words for sbatch."""

    def write(script: str) -> str:
        folder = tmp_path / "wrappers"
        folder.mkdir()
        (folder / "apptainer").write_text(f"#!/bin/bash\nreal={shutil.which('apptainer')}\n{script}\n")
        (folder / "apptainer").chmod(0o755)
        return f"--export=PATH={folder}:/usr/local/bin:/usr/bin:/bin"

    return write


def _trained(site: Site) -> tuple[JobResult, str]:
    """How the baseline's training ended, and what it said."""
    attempt = site.run.root / "lineage-0/iterations/0000/seed-1/train/attempt-1"
    log = attempt / "stdout.log"
    assert (attempt / "result.json").exists(), site.said()
    return read_result(attempt), log.read_text() if log.exists() else ""


def test_what_a_sites_profile_sets_does_not_get_in(thief: MakeThief, secret: Path) -> None:
    site = thief()
    profile = {"APPTAINER_BIND": secret.parent, "APPTAINERENV_SITE_TOKEN": "x", "https_proxy": "u:p@proxy"}
    words = ",".join(f"{name}={value}" for name, value in profile.items())
    environment = {name: str(value) for name, value in profile.items() if name != "https_proxy"}
    site.sbatch(MLIPILOT_SBATCH_EXTRA=f"--export={words}", **environment)
    site.wait_for_the_end()
    result, said = _trained(site)
    assert "that was all" in site.said(), site.said()
    assert "read nothing" in said and "called nobody" in said and "TOKEN" not in said and "proxy" not in said
    assert result.isolation.measured and result.isolation.leaks == []
    assert "left out of the environment of containers: " in site.said()


def test_a_mount_that_a_site_adds_pauses_the_run_with_its_name(
    thief: MakeThief, secret: Path, wrapper: Callable[[str], str], login: Path
) -> None:
    site = thief()
    site.sbatch(MLIPILOT_SBATCH_EXTRA=wrapper(f'exec "$real" "$1" exec --bind {secret.parent} "${{@:3}}"'))
    site.wait_for_the_end()
    result, said = _trained(site)
    assert (result.outcome, said) == ("not_isolated", "")
    status = mlipilot("status", site.run.root, cwd=login).stdout
    for text in (site.said(), status):
        assert f"mount {secret.parent} (" in text.replace("\n", "") and "paused" in text, text


@pytest.mark.sweep
def test_what_is_only_recorded_is_told_where_people_look(
    thief: MakeThief, secret: Path, wrapper: Callable[[str], str], login: Path
) -> None:
    site = thief(on_leak="record", require_no_network=False)
    weaken = (
        'for word in "${@:3}"; do case $word in --net | --network | none | --security | seccomp:*) ;; '
        f'*) words+=("$word") ;; esac; done\nexec "$real" "$1" exec --bind {secret.parent} "${{words[@]}}"'
    )
    site.sbatch(MLIPILOT_SBATCH_EXTRA=wrapper(weaken))
    site.wait_for_the_end()
    result, said = _trained(site)
    assert "read swordfish" in said and "called slurmctld" in said
    assert (result.outcome, result.isolation.network) == ("failed", "host")
    found = json.loads(mlipilot("status", site.run.root, "--json", cwd=login).stdout)["isolation"]
    doors = ("the host's network is open to the code of jobs", "containers show more of the host")
    mlipilot("report", site.run.root, cwd=login)
    told = [site.said(), "\n".join(found["open_doors"]), (site.run.root / "report.md").read_text()]
    told.append(mlipilot("status", site.run.root, cwd=login).stdout)
    for text in told:
        for door in doors:
            assert text.replace("\n", " ").count(door) == 1, text
    logs = [path.read_text() for path in (site.run.spool / "logs").iterdir()]
    assert any("nothing here keeps the job's code from the network" in log for log in logs)
