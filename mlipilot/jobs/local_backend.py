"""The local backend: each attempt is a worker process of its own on this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from mlipilot.audit.files import write_atomic
from mlipilot.audit.manifest import is_finished
from mlipilot.audit.process_identity import ProcessIdentity
from mlipilot.audit.rights import user_name
from mlipilot.errors import PausedError
from mlipilot.jobs.attempt_claims import Withdrawn, claimant, withdraw
from mlipilot.jobs.backend import Standing, Submission
from mlipilot.jobs.commands import module_argv
from mlipilot.jobs.container_commands import Container
from mlipilot.jobs.disk_space import why_not_storable
from mlipilot.jobs.ending import silently
from mlipilot.jobs.job_files import read_order
from mlipilot.jobs.late import is_sealed_at_last
from mlipilot.jobs.processes import runs_with
from mlipilot.paths import CLAIM, ORDER

WORKER = "mlipilot.jobs.worker"
_CANCEL_PATIENCE_S = 15.0
_TOLD_EVERY_S = 5.0
_ENDS_WITHIN_S = 2.0


class LocalBackend:
    """Worker processes that outlive the controller; each puts its job into `container`, or a sandbox.

    It holds those that it has started: only their parent sees that one ended before it claimed its attempt.
    After a kill such an attempt has not begun, and another worker is started: of two, one claims it.
    """

    poll_s = 0.2

    def __init__(self, container: Container | None = None, *, sandboxed: bool = False) -> None:
        self._container, self._sandboxed = container, sandboxed
        self._workers: dict[Path, subprocess.Popen[bytes]] = {}

    def wait(self, stop: Callable[[], bool]) -> None:
        """See `Backend`: files and processes of one machine are looked at often."""
        if not stop():
            time.sleep(self.poll_s)

    def ensure_started(self, *works: Submission) -> None:
        """Write the orders, unless they are there, and start workers. Of several workers only one runs it."""
        for work in works:
            self._start(work)

    def _start(self, work: Submission) -> None:
        attempt = work.attempt
        if attempt in self._workers or is_finished(attempt) or (attempt / CLAIM).exists():
            return
        attempt.mkdir(parents=True, exist_ok=True)
        if (problem := why_not_storable(attempt, work.order.min_free_mib)) is not None:
            raise PausedError(f"the job of {attempt} is not begun: {problem}")
        if not (attempt / ORDER).exists() or read_order(attempt).run != work.order.run:
            write_atomic(attempt / ORDER, work.order.text)
        try:
            self._workers[attempt] = subprocess.Popen(
                [*self._python(), str(attempt.resolve()), *self._options()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C at the controller's terminal must not reach the job
                cwd="/",
                env=worker_environment(),
            )
        except OSError as error:
            raise PausedError(f"no worker process could be started: {error}", mends_by_itself=True) from error

    def _python(self) -> list[str]:
        return module_argv(WORKER, distrust=not (self._sandboxed or self._container))

    def _options(self) -> list[str]:
        if self._container is None:
            return ["--sandbox"] if self._sandboxed else []
        return ["--image", str(self._container.image), "--network", self._container.network]

    def give_up(self, attempt: Path) -> None:
        """See `Backend`: a worker that is gone does not come back."""

    def standing(self, attempt: Path) -> Standing:
        """From the attempt's directory and, for a worker of our own, from whether it still runs.

        Raises PausedError for a worker of which nothing can be known here, as one of another host.
        """
        # First whether our worker has ended, then the directory: in the other order a worker that seals in
        # between would count as lost.
        worker = self._workers.get(attempt)
        ended = worker is not None and worker.poll() is not None
        if is_finished(attempt):
            return Standing("sealed")
        is_claimed, owner = os.path.lexists(attempt / CLAIM), claimant(attempt)
        if isinstance(owner, Withdrawn):
            return Standing("ended", "cancelled", "cancelled before it began")
        if isinstance(owner, ProcessIdentity):
            fate = owner.fate((attempt / CLAIM).stat().st_mtime)
            if fate.state == "unknown":
                raise PausedError(
                    f"{attempt} was begun by process {owner.pid} on {owner.host}, and whether that runs "
                    f"cannot be seen here ({fate.why}): resume on {owner.host}, or make sure that it is "
                    "over, remove that directory and resume"
                )
            if fate.state == "alive" and _is_worker_of(attempt, owner):
                return Standing("running")
            if fate.state == "alive" and _stays(owner):
                why = f"process {owner.pid}, which {CLAIM} names, is no worker of this attempt"
                return Standing("ended", "protected_changed", why)
        elif is_claimed:
            return Standing("ended", "protected_changed", f"{CLAIM} is no claim of a worker")
        elif not ended:
            return Standing("not_started")
        # The worker may have sealed the attempt between the two looks, or have died just before it could.
        if is_sealed_at_last(attempt):
            return Standing("sealed")
        return Standing("ended", "lost", "the worker ended without sealing the attempt")

    def cancel(self, *attempts: Path, tell: Callable[[str], None] = silently) -> str:
        """Ask the workers to end their jobs, and wait until they have; who has not begun never will.

        A worker of another user cannot be asked: what it does goes on.
        """
        workers = [worker for attempt in attempts if (worker := self._asked_to_end(attempt)) is not None]
        others = []
        for worker in workers:
            try:
                os.kill(worker.pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
            except PermissionError:
                others.append(worker)
        deadline, told_at = time.monotonic() + _CANCEL_PATIENCE_S, time.monotonic()
        while (left := [w for w in workers if w not in others and w.alive]) and time.monotonic() < deadline:
            if time.monotonic() - told_at > _TOLD_EVERY_S:
                told_at = time.monotonic()
                tell(f"waiting for {_processes(left)} to end")
            time.sleep(0.05)
        if not others:
            return ""
        owners = " and ".join(sorted({user_name(worker.uid) for worker in others}))
        numbers = " ".join(str(worker.pid) for worker in others)
        return f"{_processes(others)} may go on\n  mend: {owners}, or root, can end it: `kill {numbers}`"

    def _asked_to_end(self, attempt: Path) -> ProcessIdentity | None:
        """The worker that runs an attempt, or None where none does, and none will."""
        attempt.mkdir(parents=True, exist_ok=True)
        if withdraw(attempt):
            self._end_own_worker(attempt)
            return None
        worker = claimant(attempt)
        if not isinstance(worker, ProcessIdentity) or not worker.alive:
            return None
        return (
            worker if _is_worker_of(attempt, worker) else None
        )  # code of a candidate may have named another

    def _end_own_worker(self, attempt: Path) -> None:
        """End a worker that finds its attempt taken: it would end by itself, but later."""
        if (worker := self._workers.get(attempt)) is not None:
            worker.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.wait(_CANCEL_PATIENCE_S)


def _is_worker_of(attempt: Path, process: ProcessIdentity) -> bool:
    return runs_with(process.pid, WORKER, str(attempt.resolve()))


def _stays(process: ProcessIdentity) -> bool:
    """Whether a process does not end at once: one that does may have lost its command line already."""
    deadline = time.monotonic() + _ENDS_WITHIN_S
    while process.alive and time.monotonic() < deadline:
        time.sleep(0.02)
    return process.alive


def _processes(workers: list[ProcessIdentity]) -> str:
    return f"process{'es' if len(workers) > 1 else ''} {', '.join(str(worker.pid) for worker in workers)}"


def worker_environment() -> dict[str, str]:
    """The worker is trusted but needs no secret either: it gets what Python needs, nothing else."""
    keep = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
    return {name: os.environ[name] for name in keep if name in os.environ}
