"""campaign.sh asks Slurm who carries the lineage; Slurm, Apptainer and the submitter are stand-ins here."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from mlipilot.audit.claims import Job, publish_claim
from tests.claims import OTHER_HOST, leave_claim
from tests.sbatch.conftest import REPOSITORY, StandinSlurm

_APPTAINER = """\
#!/bin/bash
# a stand-in: a container in which the controller says how it was started
env | sed -n 's/^APPTAINERENV_//p' >"$STANDIN_SLURM/controller"
"""
_OWNER = Job(id="12_0", cluster="alps")


class Site:
    """A clone of the scripts from which job 17_0 carries lineage 0 of a run."""

    def __init__(self, root: Path, slurm: StandinSlurm) -> None:
        self.root, self.slurm = root, slurm
        self.run, self.lineage = root / "runs" / "tiny", root / "runs" / "tiny" / "lineage-0"
        (root / "sbatch").mkdir()
        for script in (REPOSITORY / "sbatch").iterdir():
            (root / "sbatch" / script.name).symlink_to(script)
        (root / "sbatch" / "submitter.sh").unlink()
        (root / "sbatch" / "submitter.sh").touch()
        (root / "image.sif").touch()
        (slurm.root / "bin" / "apptainer").write_text(_APPTAINER)
        (slurm.root / "bin" / "apptainer").chmod(0o755)
        slurm.put_job("17_0", "mlipilot", "RUNNING")

    def start(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """What the batch script does as job 17_0."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "MLIPILOT_"))}
        job = {"SLURM_JOB_ID": "18", "SLURM_ARRAY_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "0"}
        settings = {"MLIPILOT_IMAGE": "image.sif", "MLIPILOT_POLL_S": "0", "SLURM_CLUSTER_NAME": "alps"}
        path = f"{self.slurm.root / 'bin'}:{os.environ['PATH']}"
        return subprocess.run(
            ["bash", "sbatch/campaign.sh", "tiny.sbatch", "runs/tiny", "tiny.yaml"],
            cwd=self.root,
            env=inherited
            | job
            | settings
            | {"PATH": path, "STANDIN_SLURM": str(self.slurm.root)}
            | environment,
            capture_output=True,
            text=True,
            timeout=30,
        )

    def told(self) -> dict[str, str]:
        """What the controller was told of Slurm; empty when none was started."""
        path = self.slurm.root / "controller"
        lines = path.read_text().splitlines() if path.exists() else []
        return dict(line.split("=", 1) for line in lines)


@pytest.fixture
def site(tmp_path: Path, standin_slurm: StandinSlurm) -> Site:
    (tmp_path / "site").mkdir()
    return Site(tmp_path / "site", standin_slurm)


def _assert_nothing_began(site: Site) -> None:
    assert site.told() == {}
    assert site.slurm.calls("sbatch") == [], "no successor"


def _assert_it_began(site: Site, done: subprocess.CompletedProcess[str], ended: str) -> None:
    assert done.returncode == 0, done.stdout + done.stderr
    told = site.told()
    assert (told["MLIPILOT_CONTROLLER_JOB"], told["MLIPILOT_ENDED_JOB"]) == ("17_0", ended)
    assert told["SLURM_CLUSTER_NAME"] == "alps"
    assert len(site.slurm.calls("sbatch")) == 1


def test_a_lineage_of_nobody_is_begun_without_a_question(site: Site) -> None:
    done = site.start(SLURM_RESTART_COUNT="2")
    _assert_it_began(site, done, "")
    assert site.told()["SLURM_RESTART_COUNT"] == "2"
    assert site.slurm.calls("squeue") == []


def test_a_claim_that_was_let_go_and_one_without_a_job_are_no_question_for_slurm(site: Site) -> None:
    leave_claim(site.lineage, **OTHER_HOST, job=_OWNER)
    assert publish_claim(site.lineage / "controller", 2, None)
    _assert_it_began(site, site.start(), "")
    leave_claim(site.lineage, **OTHER_HOST)
    assert site.start().returncode == 0 and site.told()["MLIPILOT_ENDED_JOB"] == ""
    assert site.slurm.calls("squeue") == []


def test_a_job_that_slurm_does_not_list_is_over(site: Site) -> None:
    leave_claim(site.lineage, **OTHER_HOST, job=_OWNER)
    site.slurm.put_job("12_1", "of another lineage", "RUNNING")
    _assert_it_began(site, site.start(SQUEUE_STATES="PENDING", SLURM_CLUSTERS="rhone"), "12_0")
    asked = site.slurm.environment("squeue")
    assert not asked.keys() & {"SQUEUE_STATES", "SLURM_CLUSTERS"}


@pytest.mark.parametrize("state", ["RUNNING", "PENDING", "SUSPENDED"])
def test_beside_a_job_that_lives_nothing_is_begun(site: Site, state: str) -> None:
    leave_claim(site.lineage, **OTHER_HOST, job=_OWNER)
    site.slurm.put_job("12_0", "mlipilot", state)
    done = site.start()
    assert done.returncode == 0
    assert f"job 12_0 carries lineage 0 of {site.run} already: it is {state}" in done.stdout
    _assert_nothing_began(site)


@pytest.mark.parametrize("mode", ["down", "mumble", "empty", "garbage"])
def test_a_silent_slurm_is_no_word(site: Site, mode: str) -> None:
    leave_claim(site.lineage, **OTHER_HOST, job=_OWNER)
    site.slurm.tell("squeue", mode)
    done = site.start()
    assert done.returncode == 75
    assert f"lineage 0 of {site.run} is held by job 12_0" in done.stdout
    assert "sbatch tiny.sbatch again later" in done.stdout
    assert len(site.slurm.calls("squeue")) == 3
    _assert_nothing_began(site)


def test_a_slurm_that_answers_at_the_second_try_is_believed(site: Site) -> None:
    leave_claim(site.lineage, **OTHER_HOST, job=_OWNER)
    site.slurm.tell("squeue", "down", "")
    _assert_it_began(site, site.start(), "12_0")


def test_a_job_that_is_about_to_end_is_waited_for(site: Site) -> None:
    leave_claim(site.lineage, **OTHER_HOST, job=_OWNER)
    site.slurm.put_job("12_0", "mlipilot", "COMPLETING")
    done = site.start()
    assert done.returncode == 75 and "COMPLETING" in done.stdout
    assert len(site.slurm.calls("squeue")) == 3
    _assert_nothing_began(site)


def test_a_job_of_another_cluster_cannot_be_asked_for(site: Site) -> None:
    leave_claim(site.lineage, **OTHER_HOST, job=_OWNER.model_copy(update={"cluster": "rhone"}))
    done = site.start()
    assert done.returncode == 75 and "job 12_0 of cluster rhone" in done.stdout
    assert site.slurm.calls("squeue") == []
    _assert_nothing_began(site)


def test_a_requeued_job_finds_its_own_claim(site: Site) -> None:
    leave_claim(site.lineage, **OTHER_HOST, job=Job(id="17_0", cluster="alps"))
    _assert_it_began(site, site.start(SLURM_RESTART_COUNT="1"), "17_0")
    assert site.slurm.calls("squeue") == []


def test_a_job_that_is_no_array_has_a_plain_id(site: Site) -> None:
    leave_claim(site.lineage, **OTHER_HOST, job=Job(id="12"))
    site.slurm.put_job("18", "mlipilot", "RUNNING")
    done = site.start(SLURM_ARRAY_JOB_ID="", SLURM_ARRAY_TASK_ID="")
    assert done.returncode == 0, done.stdout
    told = site.told()
    assert (told["MLIPILOT_CONTROLLER_JOB"], told["MLIPILOT_ENDED_JOB"]) == ("18", "12")
