"""What is said of a job that is not over: Slurm's state, since when, its own reason, and the mend."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mlipilot.jobs.inflight import InFlight, read_in_flight
from mlipilot.jobs.obstacles import obstacle
from mlipilot.paths import CLAIM
from mlipilot.report.jobs import in_flight_lines
from tests.jobs.standin_cluster import Cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path / "run")


def stands(cluster: Cluster) -> InFlight:
    attempt = cluster.attempt("train")
    return read_in_flight(
        cluster.backend.spool, attempt, "0001/seed-7/train", 1, cluster.backend.spool.queue()
    )


@pytest.fixture
def name(cluster: Cluster) -> str:
    cluster.backend.ensure_started(cluster.submission())
    return next(iter(cluster.requests()))


def shown(cluster: Cluster, name: str, state: str, reason: str, node: str = "") -> list[str]:
    cluster.receive(name)
    cluster.queue(f"{name}|42|{state}|{reason}|{node}|{round(time.time()) - 720}")
    return in_flight_lines([stands(cluster)])


def test_a_request_that_nobody_has_taken_up_is_not_running(cluster: Cluster, name: str) -> None:
    (line,) = in_flight_lines([stands(cluster)])
    assert line == "not submitted: 0001/seed-7/train (the submitter has not taken it up yet)"


def test_a_request_that_waits_for_the_sites_limit_says_so(cluster: Cluster, name: str) -> None:
    since = round(time.time()) - 720
    cluster.queue(
        f"{name}||UNSUBMITTED|the site's limit of submitted jobs is reached: AssocMaxSubmitJobLimit||{since}"
    )
    (line,) = in_flight_lines([stands(cluster)])
    assert line.startswith(
        "not submitted: 0001/seed-7/train (the site's limit of submitted jobs is reached: Assoc"
    )
    assert "for 12" in line


def test_a_refusal_is_shown_with_its_reason(cluster: Cluster, name: str) -> None:
    cluster.receive(name, status="rejected", job_id="", reason="Invalid qos specification")
    assert in_flight_lines([stands(cluster)]) == ["refused: 0001/seed-7/train (Invalid qos specification)"]


@pytest.mark.parametrize("reason", ["Resources", "Priority", "QOSMaxJobsPerUserLimit", "BeginTime"])
def test_a_job_that_pends_is_not_running(cluster: Cluster, name: str, reason: str) -> None:
    line = shown(cluster, name, "PENDING", reason)[0]
    assert line.startswith(f"pending: 0001/seed-7/train (job 42, {reason}, for 12")


@pytest.mark.parametrize(
    ("state", "reason", "mend"),
    [
        ("PENDING", "JobHeldUser", "`scontrol release 42` lets it run"),
        ("REQUEUE_HOLD", "launch failed requeued held", "then `scontrol release 42`"),
        ("PENDING", "BadConstraints", "change one"),
        ("PENDING", "QOSMaxCpuPerJobLimit", "ask for less"),
    ],
)
def test_what_keeps_a_job_has_its_mend_in_a_line_of_its_own(
    cluster: Cluster, name: str, state: str, reason: str, mend: str
) -> None:
    line, help_line = shown(cluster, name, state, reason)
    assert line.startswith("held: 0001/seed-7/train (job 42, ") and reason in line
    assert help_line.startswith(f"0001/seed-7/train ({reason}): ") and mend in help_line


def test_what_waits_for_its_turn_in_a_job_does_not_run_yet(cluster: Cluster, name: str) -> None:
    line = shown(cluster, name, "RUNNING", "None", "n7")[0]
    assert line.startswith("pending: 0001/seed-7/train (job 42, on n7, its job has not come to it yet")


def test_a_job_that_runs_names_its_node(cluster: Cluster, name: str) -> None:
    (cluster.attempt("train") / CLAIM).touch()
    assert shown(cluster, name, "RUNNING", "None", "n7")[0].startswith(
        "running: 0001/seed-7/train (job 42, on n7, for 12"
    )


def test_what_slurm_or_a_wrapper_prints_cannot_write_to_the_terminal(cluster: Cluster, name: str) -> None:
    line = shown(cluster, name, "PENDING", "\x1b[2Jspoiled\x07")[0]
    assert line.isprintable() and "spoiled" in line


def test_an_older_submitters_rows_have_no_since(cluster: Cluster, name: str) -> None:
    cluster.receive(name)
    cluster.queue(f"{name}|42|PENDING|Resources|")
    assert in_flight_lines([stands(cluster)]) == ["pending: 0001/seed-7/train (job 42, Resources)"]


def test_an_unknown_reason_is_waited_for() -> None:
    assert obstacle("PENDING", "SomethingOfTomorrow").kind == "wait"
