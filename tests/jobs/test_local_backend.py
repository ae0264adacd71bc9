"""The local backend around workers that have not begun, or are not to be seen from here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from mlipilot.audit.files import write_json
from mlipilot.audit.manifest import check_manifest, write_manifest
from mlipilot.audit.process_identity import identify, this_process
from mlipilot.errors import PausedError
from mlipilot.jobs.backend import Submission
from mlipilot.jobs.job_files import JobOrder, read_result
from mlipilot.jobs.local_backend import LocalBackend
from mlipilot.paths import CLAIM
from tests.jobs.conftest import submit, wait

MakeOrder = Callable[..., JobOrder]
_SIGNALLED = """
import os, signal, sys
from mlipilot.jobs import worker
claim = worker.claim_here
def claim_then_signal(*arguments):
    taken = claim(*arguments)
    os.kill(os.getpid(), signal.SIGTERM)
    return taken
worker.claim_here = claim_then_signal
sys.exit(worker.main())
"""


def _ordered(run: Path, make_order: MakeOrder) -> Path:
    attempt = run / "attempt"
    attempt.mkdir()
    write_json(attempt / "job.json", make_order("print('on')").model_dump())
    return attempt


def test_a_worker_that_begins_after_the_cancellation_does_nothing(run: Path, make_order: MakeOrder) -> None:
    """It was started by a controller that was killed, say."""
    attempt, backend = _ordered(run, make_order), LocalBackend()
    assert backend.standing(attempt).phase == "not_started"
    backend.cancel(attempt)
    subprocess.run([sys.executable, "-m", "mlipilot.jobs.worker", str(attempt)], check=True)
    assert not (attempt / "stdout.log").exists()
    for seen_by in (backend, LocalBackend()):
        seen_by.ensure_started(Submission(attempt, make_order(""), anchor="0" * 64, kind="train"))
        found = seen_by.standing(attempt)
        assert (found.phase, found.outcome) == ("ended", "cancelled")
        assert not seen_by._workers


def test_an_attempt_without_a_directory_is_cancelled_for_good(run: Path) -> None:
    """A kill came between the record of its submission and its order."""
    LocalBackend().cancel(run / "seed-1" / "attempt-1")
    assert LocalBackend().standing(run / "seed-1" / "attempt-1").outcome == "cancelled"


def test_an_own_worker_that_was_just_started_ends(run: Path, make_order: MakeOrder) -> None:
    backend = submit(run / "attempt", make_order("import time; time.sleep(60)"))
    backend.cancel(run / "attempt")
    assert backend.standing(run / "attempt").phase == "ended"
    (worker,) = backend._workers.values()
    assert worker.poll() is not None


def test_a_signal_just_after_the_claim_ends_the_worker_in_order(run: Path, make_order: MakeOrder) -> None:
    attempt = _ordered(run, make_order)
    subprocess.run([sys.executable, "-c", _SIGNALLED, str(attempt)], check=True)
    assert (attempt / CLAIM).exists() and not (attempt / "stdout.log").exists()
    assert LocalBackend().standing(attempt).outcome == "lost"


def test_a_worker_of_another_host_is_neither_lost_nor_replaced(run: Path, make_order: MakeOrder) -> None:
    attempt, backend = _ordered(run, make_order), LocalBackend()
    (attempt / CLAIM).write_text(json.dumps(asdict(replace(this_process(), host="node7"))))
    backend.ensure_started(Submission(attempt, make_order(""), anchor="0" * 64, kind="train"))
    with pytest.raises(PausedError, match=rf"process {this_process().pid} on node7.*resume on node7"):
        backend.standing(attempt)
    assert not backend._workers
    write_manifest(attempt)
    assert backend.standing(attempt).phase == "sealed"


# A worker that is killed where it would seal.
_KILLED = """
import os, signal, sys
from mlipilot.jobs import worker
worker.seal = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
sys.exit(worker.main())
"""


@pytest.mark.parametrize(
    ("code", "limit_s", "outcome", "reason"),
    [
        ("pass", 60, "ok", None),
        ("import sys; sys.exit(3)", 60, "failed", "exit status 3"),
        ("import time; time.sleep(60)", 1, "time_limit", "the job ran past its limit of 1 s"),
    ],
)
def test_a_worker_that_died_between_its_jobs_end_and_the_seal_loses_nothing(
    run: Path, make_order: MakeOrder, code: str, limit_s: float, outcome: str, reason: str | None
) -> None:
    attempt = run / "attempt"
    attempt.mkdir()
    count = "open('../trainings', 'a').write('x'); "
    write_json(attempt / "job.json", make_order(count + code, limit_s).model_dump())
    subprocess.run([sys.executable, "-c", _KILLED, str(attempt)], check=False)
    assert not (attempt / "result.json").exists()
    assert LocalBackend().standing(attempt).phase == "sealed"
    assert check_manifest(attempt) == []
    result = read_result(attempt)
    assert (result.outcome, result.reason) == (outcome, reason)
    assert (result.cpu_s or 0) > 0 and (result.peak_memory_mib or 0) > 1
    assert str(result.sealed_by).startswith("the controller on ")
    assert (run / "trainings").read_text() == "x"


def test_a_job_whose_result_could_not_be_kept_is_not_begun(run: Path, make_order: MakeOrder) -> None:
    attempt, backend = run / "attempt", LocalBackend()
    order = make_order("pass").model_copy(update={"min_free_mib": 10**9})
    with pytest.raises(PausedError, match=r"not begun: .* MiB are free .*jobs\.min_free_mib"):
        backend.ensure_started(Submission(attempt, order, anchor="0" * 64, kind="train"))
    assert not backend._workers
    backend.ensure_started(Submission(attempt, make_order("pass"), anchor="0" * 64, kind="train"))
    assert wait(attempt).phase == "sealed"


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do with the attempt, although its name is on the command line."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "attempt"]) as process:
        yield process
        process.kill()


def test_a_process_that_a_planted_claim_names_is_left_alone(
    run: Path, make_order: MakeOrder, bystander: subprocess.Popen[bytes]
) -> None:
    attempt, backend = _ordered(run, make_order), LocalBackend()
    named = identify(bystander.pid)
    assert named is not None
    (attempt / CLAIM).write_text(json.dumps(asdict(named)))
    found = backend.standing(attempt)
    assert (found.phase, found.outcome) == ("ended", "protected_changed")
    assert found.reason == f"process {bystander.pid}, which worker.json names, is no worker of this attempt"
    assert backend.cancel(attempt) == ""
    with pytest.raises(subprocess.TimeoutExpired):
        bystander.wait(0.5)


@pytest.mark.parametrize("claim", ["{", "[" * 100_000, '{"job_id": "7", "restart": 0, "node": "n"}'])
def test_what_is_no_claim_of_a_worker_is_not_waited_for(run: Path, make_order: MakeOrder, claim: str) -> None:
    attempt = _ordered(run, make_order)
    (attempt / CLAIM).write_text(claim)
    assert LocalBackend().standing(attempt).outcome == "protected_changed"


def test_a_claim_of_what_is_no_number_is_of_no_process(run: Path, make_order: MakeOrder) -> None:
    attempt = _ordered(run, make_order)
    (attempt / CLAIM).write_text(json.dumps(asdict(this_process()) | {"pid": "1"}))
    assert LocalBackend().standing(attempt).outcome == "lost"
    assert LocalBackend().cancel(attempt) == ""


def test_an_evaluation_of_what_is_no_result_any_more_is_the_candidates_fault(
    run: Path, make_order: MakeOrder
) -> None:
    training, attempt = run / "training", run / "attempt"
    submit(training, make_order("pass"))
    assert wait(training).phase == "sealed"
    (training / "result.json").write_text("nothing of the kind")
    submit(attempt, make_order("print('on')").model_copy(update={"needs": str(training)}))
    assert wait(attempt).phase == "sealed"
    result = read_result(attempt)
    assert result.outcome == "protected_changed" and result.changed == [f"{training}/result.json"]
    assert not (attempt / "stdout.log").exists()
