"""The local backend around workers that have not begun, or are not to be seen from here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from mlipilot.audit.files import write_json
from mlipilot.audit.identity import this_process
from mlipilot.audit.manifest import write_manifest
from mlipilot.errors import PausedError
from mlipilot.jobs.backend import Submission
from mlipilot.jobs.local import LocalBackend
from mlipilot.jobs.order import JobOrder
from mlipilot.jobs.starts import CLAIM
from tests.jobs.conftest import submit

MakeOrder = Callable[..., JobOrder]
_SIGNALLED = """
import os, signal, sys
from mlipilot.jobs import worker
claim = worker._claim
def claim_then_signal(*arguments):
    taken = claim(*arguments)
    os.kill(os.getpid(), signal.SIGTERM)
    return taken
worker._claim = claim_then_signal
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
