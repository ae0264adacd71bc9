"""The Slurm backend and what holds a job or a request in the queue; submitter and queue are the test's."""

from __future__ import annotations

import time

import pytest

from mlipilot.errors import PausedError
from tests.jobs.standin_cluster import Cluster
from tests.jobs.test_slurm_backend import cluster, submitted

__all__ = ["cluster", "submitted"]  # the fixtures


def refused_forever(cluster: Cluster, name: str, state: str, reason: str, minutes: int) -> str:
    """What pauses the run after so many minutes of a state and reason; empty where nothing does."""
    since = round(time.time()) - 60 * minutes
    cluster.queue(f"{name}|42|{state}|{reason}||{since}")
    try:
        found = cluster.backend.standing(cluster.attempt("train"))
    except PausedError as paused:
        assert not paused.mends_by_itself
        return str(paused)
    assert (found.phase, found.reason) == ("waiting", reason)
    return ""


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("PENDING", "Resources"),
        ("PENDING", "Priority"),
        ("PENDING", "QOSMaxJobsPerUserLimit"),
        ("PENDING", "QOSMaxSubmitJobPerUserLimit"),
        ("PENDING", "AssocGrpCpuLimit"),
        ("PENDING", "ReqNodeNotAvail, UnavailableNodes:n[1-9]"),
        ("PENDING", "PartitionDown"),
        ("PENDING", "BeginTime"),
        ("PENDING", "Reservation"),
        ("PENDING", "AssocGrpCPURunMinutesLimit"),
        ("PENDING", "AssocGrpBilling"),
        ("PENDING", "QOSMaxBillingPerUser"),
        ("PENDING", "a_reason_of_tomorrow"),
        ("CONFIGURING", "None"),
    ],
)
def test_what_time_mends_is_waited_for(cluster: Cluster, submitted: str, state: str, reason: str) -> None:
    assert refused_forever(cluster, submitted, state, reason, minutes=9999) == ""


@pytest.mark.parametrize(
    ("state", "reason", "mend"),
    [
        ("PENDING", "JobHeldUser", "`scontrol release 42` lets it run"),
        ("PENDING", "JobHeldAdmin", "`scontrol release 42` lets it run"),
        ("PENDING", "launch failed requeued held", "the node could not start it"),
        ("PENDING", "launch_failed_requeued_held", "the node could not start it"),
        ("PENDING", "job requeued in held state", "`scontrol release 42` lets it run"),
        ("PENDING", "user env retrieval failed requeued held", "the node could not start it"),
        ("REQUEUE_HOLD", "None", "`scontrol release 42` lets it run"),
        ("SPECIAL_EXIT", "None", "`scontrol release 42` lets it run"),
        ("PENDING", "AssocGrpCPUMinutesLimit", "the account's allocation is used up"),
        ("PENDING", "QOSGrpBillingMinutes", "the account's allocation is used up"),
        ("PENDING", "ReservationDeleted", "name a reservation that is there"),
    ],
)
def test_what_a_person_has_to_let_run_pauses_the_run_and_stays_queued(
    cluster: Cluster, submitted: str, state: str, reason: str, mend: str
) -> None:
    assert refused_forever(cluster, submitted, state, reason, minutes=0) == ""
    said = refused_forever(cluster, submitted, state, reason, minutes=20)
    assert mend in said and reason in said and "job 42" in said and "for 20 min" in said
    assert not cluster.backend.spool.is_cancelled(submitted)


@pytest.mark.parametrize(
    "reason",
    [
        "BadConstraints",
        "PartitionTimeLimit",
        "PartitionNodeLimit",
        "QOSMaxCpuPerJobLimit",
        "QOSMaxGRESPerJob",
        "QOSMaxMemoryPerJob",
        "QOSMaxWallDurationPerJobLimit",
        "AssocMaxCpuMinutesPerJobLimit",
        "MaxMemPerLimit",
        "QOSMinCpuNotSatisfied",
        "AccountNotAllowed",
        "QOSNotAllowed",
        "InvalidQOS",
    ],
)
def test_a_job_that_can_never_start_pauses_the_run_and_is_submitted_anew_after_the_mend(
    cluster: Cluster, submitted: str, reason: str
) -> None:
    assert refused_forever(cluster, submitted, "PENDING", reason, minutes=0) == ""
    said = refused_forever(cluster, submitted, "PENDING", reason, minutes=2)
    assert "can never start as it was submitted" in said and reason in said
    assert cluster.backend.spool.is_cancelled(submitted)
    cluster.queue(f"{submitted}|42|CANCELLED|None||")
    cluster.backend._over_since[submitted] = -1000.0
    found = cluster.backend.standing(cluster.attempt("train"))
    assert (found.phase, found.outcome) == ("ended", "cancelled")


def test_a_request_that_is_not_submitted_says_why(cluster: Cluster) -> None:
    cluster.backend.ensure_started(cluster.submission())
    (name,) = cluster.requests()
    cluster.queue(
        f"{name}||UNSUBMITTED|the site's limit of submitted jobs is reached: AssocMaxSubmitJobLimit||7"
    )
    found = cluster.backend.standing(cluster.attempt("train"))
    assert found.phase == "waiting" and "AssocMaxSubmitJobLimit" in found.reason and found.job_id is None
