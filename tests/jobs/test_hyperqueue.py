"""Jobs of HyperQueue as the controller and `mlipilot cancel` see them; submitter and queue are the test's."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlipilot.errors import PausedError
from mlipilot.jobs import slurm_backend
from mlipilot.jobs.ending import Ending
from mlipilot.jobs.spool import Spool
from tests.jobs.standin_cluster import Cluster

ID = "hq-4711-3"


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path / "run")


@pytest.fixture
def submitted(cluster: Cluster) -> str:
    cluster.backend.ensure_started(cluster.submission())
    (name,) = cluster.requests()
    cluster.receive(name, job_id=ID)
    return name


def test_a_job_that_waits_for_a_place_is_no_obstacle(cluster: Cluster, submitted: str) -> None:
    cluster.queue(f"{submitted}|{ID}|PENDING|for a place in allocation 4712||1")
    found = cluster.backend.standing(cluster.attempt("train"))
    assert (found.phase, found.job_id, found.reason) == ("waiting", ID, "for a place in allocation 4712")


def test_one_that_the_next_allocation_can_never_run_pauses_the_run(cluster: Cluster, submitted: str) -> None:
    reason = "HyperQueue:NeverFits: cpus=8 is more than the 4 that a node of allocation 4712 has for a job"
    cluster.queue(f"{submitted}|{ID}|PENDING|{reason}||1")
    with pytest.raises(PausedError, match=r"HyperQueue says PENDING, .*cpus=8 .*larger allocation.*resume"):
        cluster.backend.standing(cluster.attempt("train"))
    assert cluster.backend.spool.is_cancelled(submitted)


def test_what_a_run_loses_when_it_leaves_hyperqueue_is_free(
    cluster: Cluster, submitted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm_backend, "_SETTLE_S", -1.0)
    cluster.queue(f"{submitted}|{ID}|REVOKED|its allocation is not served any more|")
    found = cluster.backend.standing(cluster.attempt("train"))
    assert (found.outcome, found.free, found.reason) == ("lost", True, "HyperQueue says REVOKED")


def test_the_time_limit_of_hyperqueue_is_told(
    cluster: Cluster, submitted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm_backend, "_SETTLE_S", -1.0)
    cluster.queue(f"{submitted}|{ID}|FAILED|Time limit reached|n1")
    found = cluster.backend.standing(cluster.attempt("train"))
    assert found.reason == "HyperQueue says FAILED on n1 (Time limit reached)"


def test_who_cancels_is_told_of_the_allocation_and_not_of_a_job_that_slurm_does_not_have(
    cluster: Cluster, submitted: str
) -> None:
    (cluster.spool / "hq").write_text("server=4712.2\nhost=n1\npid=5\n")
    ending = Ending(Spool(cluster.spool), [submitted])
    ending.look()
    said = ending.what_goes_on()
    assert f"job {ID} may go on" in said and "`scancel 4712`" in said


def test_jobs_are_over_when_no_server_and_no_submitter_is_there(cluster: Cluster, submitted: str) -> None:
    ending = Ending(Spool(cluster.spool), [submitted])
    ending.look()
    assert ending.what_goes_on() != ""  # the submitter may begin a server, and cancels then
    (cluster.spool / "submitter").unlink()
    ending.look()
    assert ending.what_goes_on() == ""
