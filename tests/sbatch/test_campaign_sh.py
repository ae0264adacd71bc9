"""What `sbatch/campaign.sh` does around a controller; Slurm and Apptainer are stand-ins here."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.sbatch.conftest import REPOSITORY, StandinSlurm, wait_until

BUILT = b"a SIF as it was built"


class Site:
    """A checkout with an image, and what a controller in it does: `mlipilot`, a line of bash."""

    def __init__(self, root: Path, slurm: StandinSlurm) -> None:
        self.root, self.slurm, self.apptainer = root, slurm, root / "standin"
        (self.apptainer / "bin").mkdir(parents=True)
        standin = REPOSITORY / "tests" / "sbatch" / "standin_apptainer"
        (self.apptainer / "bin" / "apptainer").symlink_to(standin)
        shutil.copytree(REPOSITORY / "sbatch", root / "sbatch")
        self.run, self.image = root / "runs" / "tiny", root / "mlipilot-cpu.sif"
        self.image.write_bytes(BUILT)
        self.mlipilot("true")

    def mlipilot(self, script: str) -> None:
        path = self.apptainer / "bin" / "mlipilot"
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(0o755)

    def start(self, run: str = "runs/tiny", **environment: str) -> subprocess.Popen[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MLIPILOT_")}
        path = f"{self.slurm.root / 'bin'}:{self.apptainer / 'bin'}:{os.environ['PATH']}"
        kept |= {
            "PATH": path,
            "STANDIN_SLURM": str(self.slurm.root),
            "STANDIN_APPTAINER": str(self.apptainer),
        }
        kept |= {"SLURM_JOB_ID": "900", "MLIPILOT_IMAGE": "mlipilot-cpu.sif", "MLIPILOT_POLL_S": "1"}
        return subprocess.Popen(
            ["bash", "sbatch/campaign.sh", "campaigns/tiny.sbatch", run, "campaigns/tiny.yaml"],
            cwd=self.root,
            env=kept | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def work(self, run: str = "runs/tiny", **environment: str) -> tuple[int, str]:
        campaign = self.start(run, **environment)
        said, _ = campaign.communicate(timeout=60)
        return campaign.returncode, said

    def controller(self) -> list[str]:
        """The words after `mlipilot` in the call of the controller."""
        (call,) = (self.apptainer / "calls").read_text().splitlines()
        words = call.split("\x1f")
        return words[words.index("mlipilot") + 1 :]


@pytest.fixture
def site(tmp_path: Path, standin_slurm: StandinSlurm) -> Site:
    return Site(tmp_path / "site", standin_slurm)


def refused(site: Site, run: str = "runs/tiny") -> str:
    """The last line of a campaign that ends before anything was asked of Slurm or run in the image."""
    status, said = site.work(run)
    assert status == 2, said
    assert site.slurm.calls("sbatch") == [] and not (site.apptainer / "calls").exists()
    assert not list(site.run.glob("spool/requests/*"))
    return said.splitlines()[-1]


def test_an_image_that_is_not_the_one_that_was_built_is_refused(site: Site) -> None:
    digest = hashlib.sha256(BUILT).hexdigest()
    entry = "mlipilot-cpu:\n  file: mlipilot-cpu.sif\n  variant: cpu\n  sif_sha256: {}\n"
    other = "mlipilot-cuda:\n  file: mlipilot-cuda.sif\n  sif_sha256: 0\n"
    (site.root / "images.lock").write_text("# by build.sh\n" + entry.format(digest) + other)
    site.image.write_bytes(BUILT[:-1] + b"T")
    assert f"mlipilot-cpu.sif is not the one in images.lock beside it ({digest})" in refused(site)
    assert not (site.run / "image.sha256").exists()
    site.image.write_bytes(BUILT)
    assert site.work()[0] == 0


def test_an_image_that_is_not_the_runs_is_refused(site: Site) -> None:
    site.run.mkdir(parents=True)
    (site.run / "image.sha256").write_text("a" * 64 + "\n")
    assert f"the run was begun with another image ({'a' * 64})" in refused(site)


def test_a_place_that_no_container_can_be_given_is_refused(site: Site) -> None:
    assert "no colon, comma or backslash" in refused(site, "runs/10:30")


def test_the_successor_is_queued_first_and_cancelled_when_it_is_not_needed(site: Site) -> None:
    status, said = site.work(SLURM_ARRAY_JOB_ID="900", SLURM_ARRAY_TASK_ID="3")
    assert status == 0, said
    assert site.slurm.calls("sbatch") == [
        ["--parsable", "--array=3", "--dependency=afterany:900_3", "campaigns/tiny.sbatch"]
    ]
    assert site.slurm.calls("scancel") == [["1"]]
    told = site.controller()
    assert told[told.index("--lineage") + 1] == "3" and "--go-on" in told and "--unattended" not in told


@pytest.mark.parametrize("why", [{"MLIPILOT_LEDGER_BYTES": "0"}, {"SLURM_RESTART_COUNT": "1"}])
def test_a_start_that_nobody_asked_for_says_so(site: Site, why: dict[str, str]) -> None:
    assert site.work(**why)[0] == 0
    assert "--unattended" in site.controller()


def test_a_signal_ends_the_controller_and_leaves_the_successor(site: Site) -> None:
    site.mlipilot("echo >begun; exec sleep 60")
    campaign = site.start()
    wait_until((site.apptainer / "begun").exists)
    campaign.send_signal(signal.SIGUSR2)
    said, _ = campaign.communicate(timeout=30)
    assert campaign.returncode == 143 and "before its time: 1 goes on" in said
    assert site.slurm.calls("scancel") == []


def test_a_signal_before_there_is_a_controller_leaves_nothing(site: Site) -> None:
    slow = site.apptainer / "bin" / "sha256sum"
    slow.write_text(
        '#!/bin/bash\necho >"$STANDIN_APPTAINER/hashing"\nsleep 0.2\nexec /usr/bin/sha256sum "$@"\n'
    )
    slow.chmod(0o755)
    campaign = site.start()
    wait_until((site.apptainer / "hashing").exists)
    campaign.send_signal(signal.SIGTERM)
    campaign.communicate(timeout=30)
    assert campaign.returncode == 143
    assert site.slurm.calls("sbatch") == [] and not (site.apptainer / "calls").exists()


def test_three_controllers_in_a_row_that_wrote_nothing_are_enough(site: Site) -> None:
    status, said = site.work(MLIPILOT_LEDGER_BYTES="0", MLIPILOT_IDLE_GENERATIONS="3")
    assert status == 2 and "three controllers in a row wrote nothing" in said
    assert site.slurm.calls("sbatch") == []
