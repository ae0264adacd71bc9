"""The local backend: each attempt is a worker process of its own on this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

from mlipilot.audit.files import write_json
from mlipilot.audit.manifest import is_finished
from mlipilot.errors import PausedError
from mlipilot.jobs.order import JobOrder
from mlipilot.jobs.processes import read_claim

AttemptState = Literal["not_started", "running", "finished", "lost"]


def submit(attempt: Path, order: JobOrder) -> subprocess.Popen[bytes]:
    """Write the order, unless it is there, and start a worker. Of several workers only one runs it."""
    attempt.mkdir(parents=True, exist_ok=True)
    if not (attempt / "job.json").exists():
        write_json(attempt / "job.json", order.model_dump())
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "mlipilot.jobs.worker", str(attempt)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C at the controller's terminal must not reach the job
            cwd="/",
            env=worker_environment(),
        )
    except OSError as error:
        raise PausedError(f"no worker process could be started: {error}") from error


def worker_environment() -> dict[str, str]:
    """The worker is trusted but needs no secret either: it gets what Python needs, nothing else."""
    keep = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH", "LD_LIBRARY_PATH")
    return {name: os.environ[name] for name in keep if name in os.environ}


def state(attempt: Path) -> AttemptState:
    """Where an attempt stands, from its directory alone."""
    if is_finished(attempt):
        return "finished"
    worker = read_claim(attempt / "worker.json")
    if worker is None:
        return "not_started"
    if worker.alive:
        return "running"
    # The worker may have sealed the attempt between the two looks.
    return "finished" if is_finished(attempt) else "lost"


def cancel(attempt: Path, patience_s: float = 15.0) -> None:
    """Ask an attempt's worker to end its job, and wait until it has."""
    worker = read_claim(attempt / "worker.json")
    if worker is None or not worker.alive:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(worker.pid, signal.SIGTERM)
    deadline = time.monotonic() + patience_s
    while worker.alive and time.monotonic() < deadline:
        time.sleep(0.05)
