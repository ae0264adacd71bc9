"""Sealing an attempt whose command has ended and whose own start did not: it was killed, or out of space.

Whoever finds it does: the next start of its job, the job that builds on it, the controller. What counts is
what its start noted; where and how it ran is read from there, and protected files are hashed as ever.
"""

from __future__ import annotations

import socket
from functools import partial
from pathlib import Path

from mlipilot.audit.manifest import is_finished
from mlipilot.jobs.attempt_claims import JobStart, claimant, may_be_sealed
from mlipilot.jobs.job_files import JobOrder, read_order
from mlipilot.jobs.kept_checkpoints import read_kept
from mlipilot.jobs.notes import Notes, read_notes
from mlipilot.jobs.sealing import ending_of, seal


def seal_found(attempt: Path, finder: str) -> bool:
    """Have an attempt sealed whose start is over; False where there is nothing to seal.

    `finder` says in the result who did it. Raises NotSealedError when the attempt becomes another's
    meanwhile, and OSError.
    """
    notes = read_notes(attempt)
    if is_finished(attempt) or notes is None or not may_be_sealed(attempt):
        return False
    order = read_order(attempt)
    if notes.begun.job_id is None:
        seal_noted(attempt, order, notes, None, finder)
        return True
    theirs = claimant(attempt)
    if not isinstance(theirs, JobStart) or theirs.job_id != notes.begun.job_id:
        return False
    if theirs.why_not_to_seal(attempt, cancelled=notes.ended.cancelled) is not None:
        return False
    mine = JobStart(theirs.job_id, theirs.restart, finder, theirs.name)
    if mine.take_over(attempt):
        seal_noted(attempt, order, notes, mine, finder)
    return True


def is_sealed_at_last(attempt: Path) -> bool:
    """Whether an attempt whose start is over is sealed, if only now and by the controller on this host.

    Raises as `seal_found` does.
    """
    return is_finished(attempt) or seal_found(attempt, f"the controller on {socket.gethostname()}")


def seal_noted(attempt: Path, order: JobOrder, notes: Notes, claimed: JobStart | None, finder: str) -> None:
    """The same, for who holds the claim; None: it is of a worker on this machine, whose end is certain."""
    cancelled = notes.ended.cancelled
    why_not = partial(claimed.why_not_to_seal, attempt, cancelled=cancelled) if claimed else lambda: None
    ending = ending_of(notes.ended, order, read_kept(attempt).kept_s)
    seal(attempt, order, ending, notes.begun, why_not=why_not, sealed_by=finder)
