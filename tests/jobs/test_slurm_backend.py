"""The Slurm backend against a spool whose submitter and queue are written by the test."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mlipilot.audit.anchors import NAME
from mlipilot.errors import PausedError
from mlipilot.jobs import slurm_backend
from mlipilot.jobs.backend import Submission
from mlipilot.jobs.job_settings import JobSettings
from mlipilot.jobs.slurm_backend import SlurmBackend
from mlipilot.paths import JobKey, RunPaths
from tests.jobs.standin_cluster import HEAD, Cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path / "run")


@pytest.fixture
def submitted(cluster: Cluster) -> str:
    """The name of a training that has its receipt."""
    cluster.backend.ensure_started(cluster.submission())
    (name,) = cluster.requests()
    cluster.receive(name)
    return name


def test_a_request_says_what_is_needed_and_no_more(cluster: Cluster) -> None:
    cluster.backend.ensure_started(cluster.submission())
    ((name, fields),) = cluster.requests().items()
    assert NAME.fullmatch(name) and name == "mlp-0123456789abcdef-l0.0001.s7.t.a1"
    assert fields == {
        "template": "train",
        "attempt": "lineage-0/iterations/0001/seed-7/train/attempt-1",
        "minutes": "13",
        "cpus": "1",
        "memory_mib": "8000",
        "gpus": "0",
    }


def test_the_smoke_step_of_a_draft_is_a_short_training_with_a_name_of_its_own(cluster: Cluster) -> None:
    lineage, key = RunPaths(cluster.run).lineage(0), JobKey(3, 7, "smoke", revision=2)
    work = cluster.submission()
    cluster.backend.ensure_started(Submission(lineage.attempt(key, 1), work.order, HEAD, "train"))
    ((name, fields),) = cluster.requests().items()
    assert NAME.fullmatch(name) and name == "mlp-0123456789abcdef-l0.0003-2.smoke.a1"
    assert fields["template"] == "train"
    assert fields["attempt"] == "lineage-0/drafts/0003-2/smoke/attempt-1"


def test_starting_again_after_a_kill_makes_no_second_request(cluster: Cluster) -> None:
    work = cluster.submission()
    cluster.backend.ensure_started(work)
    again = SlurmBackend(cluster.run, cluster.spool, cluster.backend.settings)
    again.ensure_started(Submission(work.attempt, work.order, "f" * 64, "train"))
    assert len(cluster.requests()) == 1


def test_a_kill_between_name_and_request_keeps_the_name(cluster: Cluster) -> None:
    work = cluster.submission()
    cluster.backend.ensure_started(work)
    (name,) = cluster.requests()
    (cluster.spool / "requests" / name).unlink()
    cluster.backend.ensure_started(Submission(work.attempt, work.order, "f" * 64, "train"))
    assert list(cluster.requests()) == [name]


def test_an_evaluation_is_queued_behind_its_training_and_found_when_it_is_due(cluster: Cluster) -> None:
    train = cluster.submission()
    evaluate = cluster.submission("evaluate", needs=train.attempt)
    cluster.backend.ensure_started(replace(train, then=evaluate))
    found = cluster.requests()
    training, evaluation = sorted(found, key=lambda name: found[name]["template"], reverse=True)
    assert found[evaluation]["after"] == training and "after" not in found[training]
    cluster.backend.ensure_started(evaluate)
    assert len(cluster.requests()) == 2


def test_a_training_that_is_repeated_queues_a_new_evaluation(cluster: Cluster) -> None:
    first, second = cluster.submission(), cluster.submission(number=2)
    cluster.backend.ensure_started(replace(first, then=cluster.submission("evaluate", needs=first.attempt)))
    cluster.backend.ensure_started(replace(second, then=cluster.submission("evaluate", needs=second.attempt)))
    evaluations = [name for name, fields in cluster.requests().items() if fields["template"] == "evaluate"]
    assert len(evaluations) == 2
    order = json.loads((cluster.attempt("evaluate") / "job.json").read_text())
    assert order["needs"] == str(second.attempt)
    cancelled = [name for name in evaluations if cluster.backend.spool.is_cancelled(name)]
    assert cancelled == [json.loads((first.attempt / "slurm.json").read_text())["name"].replace(".t.", ".e.")]


def test_a_fused_job_is_one_request_with_both_attempts(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "run", chain="fused")
    train = cluster.submission()
    evaluate = cluster.submission("evaluate", needs=train.attempt)
    cluster.backend.ensure_started(replace(train, then=evaluate))
    cluster.backend.ensure_started(evaluate)
    (fields,) = cluster.requests().values()
    assert (fields["template"], fields["minutes"]) == ("fused", "23")
    training, evaluation = fields["attempt"].split(",")
    assert training.endswith("train/attempt-1") and evaluation.endswith("evaluate/attempt-1")
    assert all((work.attempt / "job.json").is_file() for work in (train, evaluate))


def test_nodes_that_failed_are_left_out(cluster: Cluster) -> None:
    work = cluster.submission()
    cluster.backend.ensure_started(Submission(work.attempt, work.order, HEAD, "train", ["n2", "n1", "n2"]))
    (fields,) = cluster.requests().values()
    assert fields["exclude"] == "n1,n2"


@pytest.mark.parametrize(
    ("state", "phase", "outcome", "free", "avoided"),
    [
        ("PENDING", "waiting", None, None, False),
        ("RUNNING", "running", None, None, False),
        ("COMPLETING", "running", None, None, False),
        ("NODE_FAIL", "ended", "lost", True, True),
        ("PREEMPTED", "ended", "lost", True, False),
        ("TIMEOUT", "ended", "lost", False, True),
        ("OUT_OF_MEMORY", "ended", "failed", False, False),
        ("FAILED", "ended", "lost", False, False),
        ("COMPLETED", "ended", "lost", False, False),
        ("CANCELLED", "ended", "lost", False, False),
        ("A_STATE_OF_TOMORROW", "ended", "lost", False, False),
    ],
)
def test_states(
    cluster: Cluster,
    submitted: str,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    phase: str,
    outcome: str | None,
    free: bool | None,
    avoided: bool,
) -> None:
    monkeypatch.setattr(slurm_backend, "_SETTLE_S", -1.0)
    cluster.queue(f"{submitted}|42|{state}|None|node7")
    found = cluster.backend.standing(cluster.attempt("train"))
    assert (found.phase, found.job_id, found.job_name, found.node) == (phase, "42", submitted, "node7")
    assert found.bad_node == ("node7" if avoided else None)
    if outcome:
        assert (found.outcome, found.free) == (outcome, free) and state in found.reason


@pytest.mark.parametrize(
    "said",
    [
        "slurmstepd: error: StepId=2.batch exceeded memory limit (640585728 > 314572800), being killed",
        "slurmstepd-n2: error: Detected 1 oom_kill event in StepId=2.batch. Some tasks were OOM Killed.",
    ],
)
def test_lack_of_memory_that_only_the_jobs_log_knows_of(
    cluster: Cluster, submitted: str, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    monkeypatch.setattr(slurm_backend, "_SETTLE_S", -1.0)
    (cluster.spool / "logs").mkdir()
    (cluster.spool / "logs" / submitted).with_name(f"{submitted}.log").write_text(f"begun\n{said}\nended\n")
    cluster.queue(f"{submitted}|42|FAILED|JobLaunchFailure|node7")
    found = cluster.backend.standing(cluster.attempt("train"))
    assert found.outcome == "failed" and "more than 8000 MiB were needed" in found.reason


def test_a_job_that_refused_to_run_says_why(
    cluster: Cluster, submitted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm_backend, "_SETTLE_S", -1.0)
    (cluster.spool / "logs").mkdir()
    refused = "the image is not the run's: /m.sif has SHA-256 ab"
    (cluster.spool / "logs" / submitted).with_name(f"{submitted}.log").write_text(f"begun\n{refused}\n")
    cluster.queue(f"{submitted}|42|FAILED|NonZeroExitCode|node7")
    found = cluster.backend.standing(cluster.attempt("train"))
    assert (found.outcome, found.reason) == ("lost", f"Slurm says FAILED on node7: {refused}")


def test_a_job_that_was_seen_over_and_runs_again_is_waited_for(
    cluster: Cluster, submitted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm_backend, "_SETTLE_S", 0.05)
    phases = []
    for state in ("NODE_FAIL", "PENDING", "RUNNING", "NODE_FAIL"):
        cluster.queue(f"{submitted}|42|{state}|None|node7")
        phases.append(cluster.backend.standing(cluster.attempt("train")).phase)
        time.sleep(0.06)
    assert phases == ["running", "waiting", "running", "running"]
    assert cluster.backend.standing(cluster.attempt("train")).phase == "ended"


def test_a_manifest_may_be_seen_later_than_the_end(cluster: Cluster, submitted: str) -> None:
    cluster.queue(f"{submitted}|42|COMPLETED|None|node7")
    assert cluster.backend.standing(cluster.attempt("train")).phase == "running"
    (cluster.attempt("train") / "manifest-sha256.txt").write_text("")
    assert cluster.backend.standing(cluster.attempt("train")).phase == "sealed"


def test_not_known_to_the_queue_is_no_success_and_no_failure(cluster: Cluster, submitted: str) -> None:
    attempt = cluster.attempt("train")
    assert cluster.backend.standing(attempt).phase == "waiting"
    cluster.queue(ok=False)
    assert cluster.backend.standing(attempt).phase == "waiting"
    cluster.queue()
    assert cluster.backend.standing(attempt).reason == "the queue does not know it"
    impatient = SlurmBackend(cluster.run, cluster.spool, JobSettings(backend="slurm", patience_s=0.1))
    impatient.standing(attempt)
    time.sleep(0.15)
    cluster.beat()
    assert impatient.standing(attempt).outcome == "lost"


def test_a_silent_submitter_pauses_the_run(
    cluster: Cluster, submitted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = SlurmBackend(cluster.run, cluster.spool, JobSettings(backend="slurm", patience_s=300))
    assert impatient.standing(cluster.attempt("train")).phase == "waiting"
    later = time.monotonic() + 301
    monkeypatch.setattr("mlipilot.jobs.slurm_backend.time.monotonic", lambda: later)
    with pytest.raises(PausedError, match=r"silent for [0-9]+ s.*submitter\.sh") as paused:
        impatient.standing(cluster.attempt("train"))
    assert paused.value.mends_by_itself


@pytest.mark.parametrize("slow_s", [1200, -1200])
def test_a_submitter_whose_clock_is_another_one_is_not_silent(
    cluster: Cluster, submitted: str, slow_s: float
) -> None:
    impatient = SlurmBackend(cluster.run, cluster.spool, JobSettings(backend="slurm", patience_s=0.3))
    for _ in range(3):
        cluster.beat(slow_s=slow_s)
        assert impatient.standing(cluster.attempt("train")).phase == "waiting"
        time.sleep(0.2)


def test_a_submitter_that_has_not_begun_is_waited_for(cluster: Cluster, submitted: str) -> None:
    attempt = cluster.attempt("train")
    (cluster.spool / "submitter").unlink()
    assert cluster.backend.standing(attempt).phase == "waiting"
    impatient = SlurmBackend(cluster.run, cluster.spool, JobSettings(backend="slurm", patience_s=1e-9))
    with pytest.raises(PausedError, match=r"has not begun.*submitter\.sh"):
        impatient.standing(attempt)


def test_a_refusal_pauses_the_run_with_its_reason(cluster: Cluster, submitted: str) -> None:
    cluster.receive(submitted, status="rejected", reason="minutes=9999 is over 600")
    with pytest.raises(PausedError, match="9999 is over 600"):
        cluster.backend.standing(cluster.attempt("train"))


def test_what_waits_for_a_cancelled_training_is_cancelled_with_it(cluster: Cluster) -> None:
    train, other = cluster.submission(), cluster.submission(number=2)
    cluster.backend.ensure_started(replace(train, then=cluster.submission("evaluate", needs=train.attempt)))
    cluster.backend.ensure_started(other)
    for name in cluster.requests():
        cluster.receive(name, status="rejected", reason="cancelled")
    cluster.backend.cancel(train.attempt)
    asked = {path.name for path in (cluster.spool / "cancel").iterdir()}
    assert {cluster.requests()[name]["template"] for name in asked} == {"train", "evaluate"}
    assert len(cluster.requests()) == 3 and len(asked) == 2


def test_a_cancelled_request_has_ended(cluster: Cluster, submitted: str) -> None:
    cluster.receive(submitted, status="rejected", reason="cancelled")
    cluster.backend.cancel(cluster.attempt("train"))
    assert (cluster.spool / "cancel" / submitted).exists()
    assert cluster.backend.standing(cluster.attempt("train")).outcome == "cancelled"


def test_waiting_ends_when_something_is_said_and_costs_little(
    cluster: Cluster, submitted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = cluster.backend
    backend.poll_s = 0.05
    asked: list[float] = []

    def stop() -> bool:
        asked.append(time.monotonic())
        return len(asked) > 20

    backend.wait(stop)
    assert len(asked) == 21, "while nothing is said, only `stop` ends it"
    (cluster.spool / "news").touch()
    asked.clear()
    backend.wait(stop)
    assert asked == [], "what came after the look before is not slept over"
    said = threading.Event()

    def say() -> None:
        said.set()
        (cluster.spool / "news").touch()

    monkeypatch.setattr(slurm_backend, "_LOOK_S", 10_000.0)
    threading.Timer(0.2, say).start()
    backend.wait(lambda: False)
    assert said.is_set()


def test_what_was_refused_is_submitted_anew_after_the_mend(cluster: Cluster, submitted: str) -> None:
    cluster.receive(submitted, status="rejected", reason="Invalid partition name specified")
    with pytest.raises(PausedError, match="Invalid partition name specified; mend it and resume"):
        cluster.backend.standing(cluster.attempt("train"))
    again = SlurmBackend(cluster.run, cluster.spool, cluster.backend.settings)
    found = again.standing(cluster.attempt("train"))
    assert (found.phase, found.outcome) == ("ended", "cancelled")
