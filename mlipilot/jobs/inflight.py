"""Where an attempt that is not over stands, for people: as the spool's last answers have it. Reads only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from mlipilot.audit.manifest import is_finished
from mlipilot.errors import InputError
from mlipilot.jobs.obstacles import obstacle
from mlipilot.jobs.slurm_backend import WAITING, is_over
from mlipilot.jobs.slurm_note import read_note
from mlipilot.jobs.spool import Queue, Spool
from mlipilot.paths import CLAIM
from mlipilot.untrusted import one_line

Phase = Literal["running", "pending", "held", "unsubmitted", "refused", "ending"]
_MAX_REASON = 300


@dataclass(frozen=True)
class InFlight:
    """A job of which the ledger has no end yet.

    `state` and `reason` are Slurm's own words, empty where it has said nothing; `since_s` is for how long
    they have been so, by the submitter's last answer.
    """

    job: str
    attempt: int
    phase: Phase
    state: str = ""
    reason: str = ""
    since_s: float | None = None
    job_id: str | None = None
    job_name: str | None = None
    node: str | None = None
    mend: str = ""


def read_in_flight(spool: Spool, attempt: Path, job: str, number: int, queue: Queue) -> InFlight:
    """How an attempt stands; `queue` is the spool's, read once for all of them."""
    found = InFlight(job, number, "running")
    if is_finished(attempt):
        return replace(found, phase="ending", reason="its result is there; the controller is to note it")
    try:
        note = read_note(attempt)
    except (InputError, OSError) as error:
        return replace(found, phase="held", reason=one_line(str(error), _MAX_REASON))
    if note is None:  # a local process
        return found if (attempt / CLAIM).exists() else replace(found, phase="pending")
    receipt = spool.receipt(note.name)
    row = queue.rows.get(note.name)
    found = replace(found, job_name=note.name, job_id=receipt.job_id if receipt else None)
    if receipt is not None and not receipt.submitted:
        return replace(found, phase="refused", reason=one_line(receipt.reason, _MAX_REASON))
    if row is None:
        if receipt is None:
            return replace(found, phase="unsubmitted", reason="the submitter has not taken it up yet")
        return replace(found, phase="pending", reason="the queue's answer does not name it yet")
    since_s = None if row.since is None else max(0.0, queue.time - row.since)
    reason = "" if row.reason in ("None", "(null)") else one_line(row.reason, _MAX_REASON)
    found = replace(
        found,
        state=one_line(row.state, 40),
        reason=reason,
        since_s=since_s,
        node=one_line(row.node, 80) or None,
    )
    if receipt is None:
        return replace(found, phase="unsubmitted", state="")
    if is_over(row.state):
        return replace(found, phase="ending")
    if row.state not in WAITING:
        if row.state == "RUNNING" and not (attempt / CLAIM).exists():
            return replace(found, phase="pending", reason="its job has not come to it yet")
        return found
    met = obstacle(row.state, row.reason)
    phase: Phase = "pending" if met.kind == "wait" else "held"
    return replace(found, phase=phase, mend=met.mend.replace("JOB", one_line(row.job_id, 40)))
