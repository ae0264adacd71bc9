"""Whose job a controller runs in, and what is believed of another's: Slurm's commands are stand-ins here."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlipilot.audit.claims import Job
from mlipilot.errors import InputError
from mlipilot.jobs.slurm_job import fate_of_job, this_job
from tests.conftest import StandIn

JOB = Job(id="17_0", cluster="alps")
CONFIG = "echo 'Configuration data as of today'; echo 'ClusterName             = alps'"


@pytest.fixture(autouse=True)
def outside_of_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLIPILOT_ENDED_JOB", raising=False)


@pytest.mark.parametrize(
    ("environment", "job"),
    [
        ({}, None),
        ({"SLURM_JOB_ID": "18"}, Job(id="18")),
        (
            {"SLURM_JOB_ID": "18", "SLURM_ARRAY_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "3"},
            Job(id="17_3"),
        ),
        (
            {"MLIPILOT_CONTROLLER_JOB": "17_0", "SLURM_RESTART_COUNT": "2", "SLURM_CLUSTER_NAME": "alps"},
            Job(id="17_0", restarts=2, cluster="alps"),
        ),
        ({"MLIPILOT_CONTROLLER_JOB": "17_0", "SLURM_CLUSTER_NAME": ""}, Job(id="17_0")),
    ],
)
def test_a_controller_knows_its_job_in_and_out_of_a_container(
    environment: dict[str, str], job: Job | None
) -> None:
    assert this_job(environment) == job


def test_an_id_that_no_job_can_have_is_refused() -> None:
    with pytest.raises(InputError, match="'17; id' is no job"):
        this_job({"MLIPILOT_CONTROLLER_JOB": "17; id"})


def test_the_batch_scripts_word_counts_for_that_job_only(
    monkeypatch: pytest.MonkeyPatch, no_programs: None
) -> None:
    monkeypatch.setenv("MLIPILOT_ENDED_JOB", "17_0")
    assert fate_of_job(JOB).state == "over"
    assert fate_of_job(Job(id="17_1")).state == "unknown"


@pytest.mark.parametrize(
    ("squeue", "state", "why"),
    [
        ("echo RUNNING", "alive", "job 17_0 is RUNNING"),
        ("echo PENDING", "alive", "job 17_0 is PENDING"),
        ("true", "over", "job 17_0 is over"),
        (
            "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1",
            "unknown",
            "contact",
        ),
        ("echo 'squeue: error: Zero Bytes were transmitted or received' >&2", "unknown", "Zero Bytes"),
    ],
)
def test_only_an_answer_without_an_error_is_slurms_word(
    stand_in: StandIn, squeue: str, state: str, why: str
) -> None:
    stand_in("scontrol", CONFIG)
    stand_in("squeue", squeue)
    fate = fate_of_job(JOB)
    assert fate.state == state and why in fate.why


def test_another_clusters_slurm_has_no_say(stand_in: StandIn, tmp_path: Path) -> None:
    stand_in("scontrol", CONFIG.replace("alps", "rhone"))
    stand_in("squeue", f"touch {tmp_path}/asked")
    fate = fate_of_job(JOB)
    assert fate.state == "unknown" and "of cluster alps" in fate.why
    assert not (tmp_path / "asked").exists()


def test_a_slurm_that_does_not_answer_has_no_say(stand_in: StandIn) -> None:
    stand_in("scontrol", "echo 'Unable to contact slurm controller' >&2; exit 1")
    stand_in("squeue", "true")
    fate = fate_of_job(JOB)
    assert fate.state == "unknown" and "Unable to contact" in fate.why


def test_a_job_that_squeue_does_not_know_is_asked_for_twice_at_once(stand_in: StandIn) -> None:
    """Real squeue fails for a single unknown id, as it does for a Slurm that is away."""
    stand_in("scontrol", CONFIG)
    stand_in(
        "squeue", '[ "$4 $5" = "-j 17_0,17_0" ] || { echo "error: Invalid job id specified" >&2; exit 1; }'
    )
    assert fate_of_job(JOB).state == "over"
