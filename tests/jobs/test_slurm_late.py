"""Jobs that Slurm calls over without a manifest: what had ended is kept, and what did not begin is said."""

from __future__ import annotations

import json
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mlipilot.audit.files import write_json
from mlipilot.audit.manifest import MANIFEST, check_manifest, is_finished
from mlipilot.audit.protected import hash_protected
from mlipilot.jobs import slurm_backend
from mlipilot.jobs.attempt_claims import JobStart
from mlipilot.jobs.job_files import Isolation, read_result
from mlipilot.jobs.job_settings import JobSettings
from mlipilot.jobs.machine import this_machine
from mlipilot.jobs.notes import Begun, Ended
from mlipilot.jobs.slurm_backend import SlurmBackend
from tests.jobs.standin_cluster import Cluster
from tests.jobs.test_slurm_backend import cluster, submitted

__all__ = ["cluster", "submitted"]  # the fixtures


def _note(cluster: Cluster, name: str, **how: object) -> Path:
    """What a training's start leaves that died between its command's end and its seal."""
    attempt, start = cluster.attempt("train"), JobStart("42", 0, "node7", name)
    (cluster.run / "protected.json").write_text(json.dumps(hash_protected(cluster.run)))
    order = cluster.submission().order.model_copy(update={"protected": str(cluster.run / "protected.json")})
    (attempt / "job.json").write_text(order.model_dump_json())
    assert start.claim(attempt)
    Begun.here(order, Isolation(backend="slurm"), **start.noted).note(attempt)
    told = {"exit_status": 0, "cancelled": False, "wall_s": 12.5, "cpu_s": None} | start.noted
    Ended.model_validate(told | how).note(attempt)
    return attempt


@pytest.mark.parametrize(
    "state", ["COMPLETED", "FAILED", "NODE_FAIL", "TIMEOUT", "CANCELLED", "OUT_OF_MEMORY"]
)
def test_what_had_ended_is_sealed_here_when_slurm_says_that_the_job_is_over(
    cluster: Cluster, submitted: str, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    attempt = _note(cluster, submitted)
    for row, settle_s in (("RUNNING", -1.0), (state, 60.0)):  # its own start may still come to it
        monkeypatch.setattr(slurm_backend, "_SETTLE_S", settle_s)
        cluster.queue(f"{submitted}|42|{row}|None|node7")
        assert cluster.backend.standing(attempt).phase == "running"
        assert not is_finished(attempt)
    monkeypatch.setattr(slurm_backend, "_SETTLE_S", -1.0)
    assert cluster.backend.standing(attempt).phase == "sealed"
    assert check_manifest(attempt) == []
    result = read_result(attempt)
    assert (result.outcome, result.job_id, result.cpu_s) == ("ok", "42", None)
    assert result.sealed_by == f"the controller on {socket.gethostname()}"


def test_what_the_queue_has_forgotten_is_sealed_too(cluster: Cluster, submitted: str) -> None:
    attempt = _note(cluster, submitted)
    impatient = SlurmBackend(cluster.run, cluster.spool, JobSettings(backend="slurm", patience_s=0.1))
    cluster.queue()
    impatient.standing(attempt)
    time.sleep(0.15)
    cluster.beat()
    assert impatient.standing(attempt).phase == "sealed"


def test_what_a_signal_ended_is_lost_and_not_the_candidates_failure(
    cluster: Cluster, submitted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm_backend, "_SETTLE_S", -1.0)
    attempt = _note(cluster, submitted, exit_status=-15, cancelled=True)
    cluster.queue(f"{submitted}|42|PREEMPTED|None|node7")
    found = cluster.backend.standing(attempt)
    assert (found.phase, found.outcome, found.free) == ("ended", "lost", True)
    assert not is_finished(attempt)


def test_a_start_that_takes_the_attempt_meanwhile_is_waited_for(
    cluster: Cluster, submitted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm_backend, "_SETTLE_S", -1.0)
    attempt = _note(cluster, submitted)
    monkeypatch.setattr(
        JobStart, "why_not_to_seal", lambda me, *_, **__: None if me.node == "node7" else "no"
    )
    cluster.queue(f"{submitted}|42|NODE_FAIL|None|node7")
    assert cluster.backend.standing(attempt).phase == "running"


def test_a_job_that_did_not_begin_for_want_of_room_is_neither_lost_nor_a_failure(
    cluster: Cluster, submitted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm_backend, "_SETTLE_S", -1.0)
    (cluster.spool / "logs").mkdir()
    log = cluster.spool / "logs" / f"{submitted}.log"
    log.write_text("begun\nnot storable: 3 MiB are free for /r: free some, then resume\n")
    cluster.queue(f"{submitted}|42|FAILED|NonZeroExitCode|node7")
    found = cluster.backend.standing(cluster.attempt("train"))
    assert (found.phase, found.outcome) == ("ended", "not_storable")
    assert found.reason == "3 MiB are free for /r: free some, then resume"


def test_a_full_disk_speaks_for_a_job_whose_log_could_not_be_written(
    cluster: Cluster, submitted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm_backend, "_SETTLE_S", -1.0)
    cluster.queue(f"{submitted}|42|FAILED|NonZeroExitCode|node7")
    full = SlurmBackend(cluster.run, cluster.spool, JobSettings(backend="slurm", min_free_mib=10**9))
    found = full.standing(cluster.attempt("train"))
    assert found.outcome == "not_storable" and "jobs.min_free_mib" in found.reason


@pytest.mark.parametrize(("outcome", "phase"), [("ok", "running"), ("failed", "ended"), (None, "running")])
@pytest.mark.parametrize("state", ["COMPLETED", "CANCELLED"])
def test_an_evaluation_that_is_never_due_is_over_as_soon_as_slurm_says_so(
    cluster: Cluster, state: str, outcome: str | None, phase: str
) -> None:
    """No manifest of it is waited for; of one that was due, or whose training goes on, one may come."""
    train = cluster.submission()
    behind = cluster.submission("evaluate", needs=train.attempt)
    cluster.backend.ensure_started(replace(train, then=behind))
    if outcome is not None:
        said = dict.fromkeys(("exit_status", "reason", "cpu_s", "peak_memory_mib"))
        said |= {"outcome": outcome, "wall_s": 1.0, "gpu_s": 0.0, "changed": [], "host": "h"}
        said |= {"isolation": {"backend": "slurm"}, "machine": this_machine(uses_gpu=False).model_dump()}
        write_json(train.attempt / "result.json", said)
        (train.attempt / MANIFEST).write_text("")
    name = next(n for n, fields in cluster.requests().items() if fields["template"] == "evaluate")
    cluster.receive(name)
    (cluster.spool / "started" / f"{name}.42").touch()
    cluster.backend.spool.ask_to_cancel(name)
    cluster.queue(f"{name}|42|{state}|None|node7")
    assert cluster.backend.standing(behind.attempt).phase == phase
