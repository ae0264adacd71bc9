"""Who holds an attempt: a worker process of this machine, a start of a Slurm job, or nobody for good.

Who publishes `worker.json` first has it. A Slurm job that was requeued starts again under its number, and
only its newest start counts: it alone may put its claim in the place of another, which is its earlier one's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from mlipilot.audit.discarding import remove
from mlipilot.audit.files import publish_new, write_atomic
from mlipilot.audit.manifest import is_finished
from mlipilot.audit.process_identity import ProcessIdentity, this_process
from mlipilot.jobs.job_files import read_order
from mlipilot.jobs.kept_checkpoints import clear_output
from mlipilot.jobs.notes import BEGUN, ENDED, read_begun, read_notes
from mlipilot.jobs.slurm_note import read_note
from mlipilot.paths import CLAIM, RESULT, STDERR, STDOUT, RunPaths

# What a start leaves beside its output. Notes first: without them half of it is never taken for whole.
_LEFTOVERS = (BEGUN, ENDED, RESULT, "home", STDOUT, STDERR)


@dataclass(frozen=True)
class JobStart:
    """One start of a Slurm job."""

    job_id: str
    restart: int
    node: str
    name: str = field(default="", compare=False)
    """The job's in Slurm; empty where that is not known."""

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> JobStart | None:
        """The start whose batch script calls us; None outside Slurm."""
        job_id = environment.get("SLURM_JOB_ID")
        if job_id is None:
            return None
        restart = int(environment.get("SLURM_RESTART_COUNT", "0"))
        node, name = environment.get("SLURMD_NODENAME", ""), environment.get("SLURM_JOB_NAME", "")
        return cls(job_id, restart, node, name)

    @property
    def noted(self) -> dict[str, Any]:
        """What notes say of it."""
        return {"job_id": self.job_id, "restart": self.restart, "node": self.node}

    @property
    def words(self) -> str:
        """For people, and for who sealed what."""
        return f"job {self.job_id} (start {self.restart}) on {self.node}"

    def claim(self, attempt: Path) -> bool:
        """Take the attempt unless another job has, or a start of this job that is no older than this one.

        What an older start left of its work is removed but for its checkpoint, unless its command ended:
        then it is to be sealed. An attempt that was asked of another job meanwhile is left to that. A start
        that failed between its claim and its command may claim again.
        """
        if not self._is_asked_for(attempt):
            return False
        if _publish(attempt, self):
            return True
        theirs = claimant(attempt)
        is_again = theirs == self and not self._has_begun(attempt)
        if not is_again and not (self.is_later_start_of(theirs) and self.take_over(attempt)):
            return False
        if not may_be_sealed(attempt):
            remove(*(attempt / leftover for leftover in _LEFTOVERS))
            clear_output(attempt)
        return True

    def is_later_start_of(self, other: Claimant | None) -> bool:
        """Whether Slurm has started that very job again as this one, so that the earlier start is over."""
        return isinstance(other, JobStart) and self.job_id == other.job_id and self.restart > other.restart

    def take_over(self, attempt: Path) -> bool:
        """Put this claim in the place of one that is there; False where the attempt is sealed by then."""
        if is_finished(attempt):  # the claim is part of what is sealed
            return False
        before = (attempt / CLAIM).read_bytes()
        write_atomic(attempt / CLAIM, json.dumps(asdict(self)), staged_in=attempt.parent)
        if is_finished(attempt):  # the older start sealed it between the two looks
            write_atomic(attempt / CLAIM, before, staged_in=attempt.parent)
            return False
        return True

    def why_not_to_seal(self, attempt: Path, *, cancelled: bool) -> str | None:
        """Why what this start did is not the attempt's end, or None.

        A node that Slurm gave up for lost may go on with a job that runs again elsewhere. And a job that was
        ended from outside, by nobody's wish here, may have been requeued: Slurm knows better than it.
        """
        if claimant(attempt) != self or not self._is_asked_for(attempt):
            return f"not sealed: {attempt} is not of this start any more"
        if cancelled and not _cancel_was_asked(attempt):
            return "ended from outside: scancel, a requeue, a preemption or the limit of the job in Slurm"
        return None

    def _has_begun(self, attempt: Path) -> bool:
        begun = read_begun(attempt)
        return begun is not None and begun.start == (self.job_id, self.restart, self.node)

    def _is_asked_for(self, attempt: Path) -> bool:
        """Whether the attempt is this job's: the ledger may have its end already, and when a training was
        lost, the evaluation that was fused with it is asked of the next training's job."""
        note = read_note(attempt)
        if note is None:
            return not self.name
        return not note.given_up and self.name in ("", note.name)


def may_be_sealed(attempt: Path) -> bool:
    """Whether an attempt's command has ended by itself, or by the run's own wish."""
    notes = read_notes(attempt)
    return notes is not None and (not notes.ended.cancelled or _cancel_was_asked(attempt))


def _cancel_was_asked(attempt: Path) -> bool:
    from mlipilot.jobs.spool import Spool  # a fifth of what every phase of a job would import, for this alone

    note = read_note(attempt)
    return note is not None and Spool(RunPaths(Path(read_order(attempt).run)).spool).is_cancelled(note.name)


@dataclass(frozen=True)
class Withdrawn:
    """Nobody's claim on an attempt that was cancelled before anybody had begun it."""

    withdrawn: Literal[True]


Claimant = ProcessIdentity | JobStart | Withdrawn


def claim_here(attempt: Path) -> bool:
    """Take the attempt for this process unless somebody has it: at most one caller ever gets True."""
    return _publish(attempt, this_process())


def withdraw(attempt: Path) -> bool:
    """Keep the attempt from everybody; False when somebody has it."""
    return _publish(attempt, Withdrawn(withdrawn=True))


def claimant(attempt: Path) -> Claimant | None:
    """Who holds an attempt; None where nobody does, or what is there is no claim.

    Raises PermissionError: a claim that may not be read is one all the same.
    """
    try:
        said = json.loads((attempt / CLAIM).read_text(encoding="utf-8"))
    except PermissionError:
        raise
    except (OSError, ValueError, RecursionError):
        return None
    for kind in (ProcessIdentity, JobStart, Withdrawn):
        with suppress(TypeError):
            return kind(**said)
    return None


def _publish(attempt: Path, who: Claimant) -> bool:
    """Whoever comes second leaves no trace in the attempt's folder, which the first may be sealing."""
    return publish_new(attempt / CLAIM, json.dumps(asdict(who)), staged_in=attempt.parent)
