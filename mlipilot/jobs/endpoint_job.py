"""The Slurm job that serves a run's model: one for all its lineages, submitted by way of the spool.

Attempt N is the directory `attempt-N` of `spool/endpoint`, whose note (`slurm_note`) has the name of its job.
Of several lineages that find none alive, the one that publishes the note first has chosen the name; the
others wait for the same job. The submitter sees to it that it is submitted once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from mlipilot.errors import InputError, PausedError
from mlipilot.jobs.backend import Standing
from mlipilot.jobs.logs import tail_lines
from mlipilot.jobs.slurm_backend import SlurmBackend, is_over
from mlipilot.jobs.slurm_note import NOTE, SlurmNote, read_note
from mlipilot.paths import RunPaths
from mlipilot.untrusted import one_line

MOST_RESTARTS = 3
"""How often a job that ended is followed by another one, in one session of a controller."""
_CANCEL_PATIENCE_S = 60.0
_TOLD_EVERY_S = 600.0
_LOG_LINES = 3


def is_wanted() -> bool:
    """Whether the site serves the model of its campaigns by a job: `sbatch/campaign.sh` says so."""
    return bool(os.environ.get("MLIPILOT_ENDPOINT"))


def names_of_jobs(run: RunPaths) -> list[str]:
    """The names of the jobs that serve the run's model, or did."""
    notes = map(read_note, sorted((run.spool / "endpoint").glob("attempt-*")))
    return [note.name for note in notes if note is not None]


class EndpointJob:
    """The job as one lineage's controller sees it."""

    def __init__(self, run: RunPaths, backend: SlurmBackend, tell: Callable[[str], None]) -> None:
        self._run, self._backend, self._tell = run, backend, tell
        self._first: int | None = None

    def ensure_requested(self, anchor: str) -> None:
        """Have a job that is not over; `anchor`, the ledger's head, is for the name of a new one."""
        number = self._newest()
        if number == 0 or self._end_of(number) is not None:
            number += 1
            self._attempt(number).mkdir(parents=True, exist_ok=True)
            SlurmNote(name=f"mlp-{anchor[:16]}-endpoint.a{number}").publish(self._attempt(number))
        self._first = self._first or number
        name = self._name(number)
        if not self._backend.spool.is_requested(name):  # or the one who chose the name was killed
            self._backend.spool.request(name, {"template": "endpoint"})
            self._tell(f"the model's job is asked for: {name}")

    @property
    def is_requested(self) -> bool:
        """Whether this controller has asked for it."""
        return self._first is not None

    def wait(self, stop: Callable[[], bool]) -> None:
        """Return once the model answers, or `stop` says so. Raises PausedError when its job is over."""
        number, told_at, told = self._newest(), 0.0, ""
        while not stop():
            if (ended := self._end_of(number)) is not None:
                raise PausedError(f"the model's job ended: {ended}", mends_by_itself=True)
            standing = self._backend.standing(self._attempt(number))
            if standing.phase == "running" and self._is_published(number):
                return
            words = _words(standing)
            if words != told or time.monotonic() - told_at > _TOLD_EVERY_S:
                told_at, told = time.monotonic(), words
                self._tell(f"the model's job {words}")
            time.sleep(self._backend.poll_s)

    def may_be_replaced(self) -> bool:
        """Whether the job is over, and another one may follow it; asked when the model did not answer.

        What the submitter refused it would refuse again.
        """
        number = self._newest()
        if self._first is None or number - self._first >= MOST_RESTARTS:
            return False
        receipt = self._backend.spool.receipt(self._name(number))
        try:
            return receipt is not None and receipt.submitted and self._has_ended(number)
        except PausedError:  # Slurm cannot be asked
            return False

    def end(self) -> None:
        """Have the submitter end the job, and wait a while until it has."""
        number, spool = self._newest(), self._backend.spool
        if number == 0 or spool.is_cancelled(self._name(number)):
            return
        self._tell("the model's job is not needed any more")
        before, deadline = spool.queue().poll, time.monotonic() + _CANCEL_PATIENCE_S
        spool.ask_to_cancel(self._name(number))
        while time.monotonic() < deadline:
            receipt = spool.receipt(self._name(number))
            # With each look at the queue the submitter ends what is to be cancelled.
            if receipt is not None and (not receipt.submitted or spool.queue().poll != before):
                return
            time.sleep(self._backend.poll_s)

    def _newest(self) -> int:
        found = self._folder.glob(f"attempt-*/{NOTE}")
        return max((int(path.parent.name.removeprefix("attempt-")) for path in found), default=0)

    @property
    def _folder(self) -> Path:
        return self._backend.spool.root / "endpoint"

    def _attempt(self, number: int) -> Path:
        return self._folder / f"attempt-{number}"

    def _name(self, number: int) -> str:
        note = read_note(self._attempt(number))
        if note is None:
            raise InputError("this note of the model's job is gone", file=self._attempt(number) / NOTE)
        return note.name

    def _end_of(self, number: int) -> str | None:
        """How an attempt ended, with its log's last words, or None while it may be alive."""
        name, spool = self._name(number), self._backend.spool
        receipt = spool.receipt(name)
        if receipt is None:
            return None
        if not receipt.submitted:
            return f"the submitter refused it: {one_line(receipt.reason)}"
        row = spool.queue().rows.get(name)
        if row is None:
            standing = self._backend.standing(self._attempt(number))
            reason = standing.reason if standing.phase == "ended" else None
        else:
            reason = f"Slurm says {row.state}" if is_over(row.state) else None
        if reason is None:
            return None
        log = spool.root / "logs" / f"{name}.log"
        lines = [one_line(line) for line in tail_lines(log) if line.strip()]
        return "\n  ".join([f"{reason}; {log} ends with", *lines[-_LOG_LINES:]])

    def _has_ended(self, number: int) -> bool:
        """Whether an attempt is over, by an answer of the queue that is newer than this question."""
        before = self._backend.spool.queue().poll
        deadline = time.monotonic() + self._backend.settings.patience_s
        while time.monotonic() < deadline:
            if self._end_of(number) is not None:
                return True
            queue = self._backend.spool.queue()
            row = queue.rows.get(self._name(number))
            if queue.poll != before and row is not None and row.state != "COMPLETING":
                return False
            time.sleep(self._backend.poll_s)
        return False

    def _is_published(self, number: int) -> bool:
        """Whether the file that says where the model is has been written by this very job."""
        begun = self._backend.spool.root / "started" / f"{self._name(number)}.0"
        return begun.exists() and self._run.endpoint.exists()


def _words(standing: Standing) -> str:
    if standing.phase == "running":
        return f"runs on {standing.node}: the model is being loaded"
    return f"waits{': ' + standing.reason if standing.reason else ''}"
