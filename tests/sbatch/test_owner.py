"""campaign.sh asks Slurm who carries the lineage."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mlipilot.audit.claims import Job, publish_claim
from tests.claims import OTHER_HOST, leave_claim
from tests.sbatch.checkout import Checkout
from tests.sbatch.conftest import StandinSlurm

_OWNER = Job(id="12_0", cluster="alps")


@pytest.fixture
def site(tmp_path: Path, standin_slurm: StandinSlurm) -> Checkout:
    return Checkout(tmp_path / "site", standin_slurm)


def _assert_nothing_began(site: Checkout) -> None:
    assert site.told() == {}
    assert site.slurm.calls("sbatch") == [], "no successor"


def _assert_it_began(site: Checkout, done: subprocess.CompletedProcess[str], ended: str) -> None:
    assert done.returncode == 0, done.stdout
    told = site.told()
    assert (told["MLIPILOT_CONTROLLER_JOB"], told["MLIPILOT_ENDED_JOB"]) == ("17_0", ended)
    assert told["SLURM_CLUSTER_NAME"] == "alps"
    assert len(site.slurm.calls("sbatch")) == 1


def test_a_lineage_of_nobody_is_begun_without_a_question(site: Checkout) -> None:
    done = site.start(SLURM_RESTART_COUNT="2")
    _assert_it_began(site, done, "")
    assert site.told()["SLURM_RESTART_COUNT"] == "2"
    assert site.slurm.calls("squeue") == []


def test_a_claim_that_was_let_go_and_one_without_a_job_are_no_question_for_slurm(site: Checkout) -> None:
    leave_claim(site.lineage, **OTHER_HOST, job=_OWNER)
    assert publish_claim(site.lineage / "controller", 2, None)
    _assert_it_began(site, site.start(), "")
    leave_claim(site.lineage, **OTHER_HOST)
    assert site.start().returncode == 0 and site.told()["MLIPILOT_ENDED_JOB"] == ""
    assert site.slurm.calls("squeue") == []


def test_a_job_that_slurm_does_not_list_is_over(site: Checkout) -> None:
    leave_claim(site.lineage, **OTHER_HOST, job=_OWNER)
    site.slurm.put_job("12_1", "of another lineage", "RUNNING")
    _assert_it_began(site, site.start(SQUEUE_STATES="PENDING", SLURM_CLUSTERS="rhone"), "12_0")
    asked = site.slurm.environment("squeue")
    assert not asked.keys() & {"SQUEUE_STATES", "SLURM_CLUSTERS"}


@pytest.mark.parametrize("state", ["RUNNING", "PENDING", "SUSPENDED"])
def test_beside_a_job_that_lives_nothing_is_begun(site: Checkout, state: str) -> None:
    leave_claim(site.lineage, **OTHER_HOST, job=_OWNER)
    site.slurm.put_job("12_0", "mlipilot", state)
    done = site.start()
    assert done.returncode == 0
    assert f"job 12_0 carries lineage 0 of {site.run} already: it is {state}" in done.stdout
    _assert_nothing_began(site)


@pytest.mark.parametrize("mode", ["down", "mumble", "empty", "garbage"])
def test_a_silent_slurm_is_no_word(site: Checkout, mode: str) -> None:
    leave_claim(site.lineage, **OTHER_HOST, job=_OWNER)
    site.slurm.tell("squeue", mode)
    done = site.start()
    assert done.returncode == 75
    assert f"lineage 0 of {site.run} is held by job 12_0" in done.stdout
    assert "sbatch tiny.sbatch again later" in done.stdout
    assert len(site.slurm.calls("squeue")) == 3
    _assert_nothing_began(site)


def test_a_slurm_that_answers_at_the_second_try_is_believed(site: Checkout) -> None:
    leave_claim(site.lineage, **OTHER_HOST, job=_OWNER)
    site.slurm.tell("squeue", "down", "")
    _assert_it_began(site, site.start(), "12_0")


def test_a_job_that_is_about_to_end_is_waited_for(site: Checkout) -> None:
    leave_claim(site.lineage, **OTHER_HOST, job=_OWNER)
    site.slurm.put_job("12_0", "mlipilot", "COMPLETING")
    done = site.start()
    assert done.returncode == 75 and "COMPLETING" in done.stdout
    assert len(site.slurm.calls("squeue")) == 3
    _assert_nothing_began(site)


def test_a_job_of_another_cluster_cannot_be_asked_for(site: Checkout) -> None:
    leave_claim(site.lineage, **OTHER_HOST, job=_OWNER.model_copy(update={"cluster": "rhone"}))
    done = site.start()
    assert done.returncode == 75 and "job 12_0 of cluster rhone" in done.stdout
    assert site.slurm.calls("squeue") == []
    _assert_nothing_began(site)


def test_a_requeued_job_finds_its_own_claim(site: Checkout) -> None:
    leave_claim(site.lineage, **OTHER_HOST, job=Job(id="17_0", cluster="alps"))
    _assert_it_began(site, site.start(SLURM_RESTART_COUNT="1"), "17_0")
    assert site.slurm.calls("squeue") == []


def test_a_job_that_is_no_array_has_a_plain_id(site: Checkout) -> None:
    leave_claim(site.lineage, **OTHER_HOST, job=Job(id="12"))
    site.slurm.put_job("18", "mlipilot", "RUNNING")
    done = site.start(SLURM_ARRAY_JOB_ID="", SLURM_ARRAY_TASK_ID="")
    assert done.returncode == 0, done.stdout
    told = site.told()
    assert (told["MLIPILOT_CONTROLLER_JOB"], told["MLIPILOT_ENDED_JOB"]) == ("18", "12")
