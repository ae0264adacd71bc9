"""The trusted ends of every attempt: what must not have changed, and the sealed result."""

from __future__ import annotations

import shutil
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mlipilot.audit.files import tree_digest, write_json
from mlipilot.audit.manifest import drop_unsealable, is_finished, write_manifest
from mlipilot.audit.protected import differences, hash_protected, read_protected
from mlipilot.jobs.checkpoints import drop_checkpoint, read_begun
from mlipilot.jobs.machine import this_machine
from mlipilot.jobs.order import Isolation, JobOrder, JobResult, Outcome, read_result


@dataclass(frozen=True)
class Ending:
    """How a job's command ended and what it cost."""

    outcome: Outcome
    exit_status: int | None = None
    reason: str | None = None
    wall_s: float = 0.0
    """With what a checkpoint of earlier starts took."""
    cpu_s: float = 0.0
    peak_memory_mib: float | None = None


def ending_of(status: int) -> tuple[Outcome, str | None]:
    """Outcome and reason of an exit status; a negative one is a signal."""
    if status == 0:
        return "ok", None
    return "failed", f"ended by signal {-status}" if status < 0 else f"exit status {status}"


def signed_status(status: int) -> int:
    """An exit status as a shell, `timeout` or Apptainer reports it, which is 128 plus a signal's number."""
    return status if status < 128 else 128 - status


def changed_files(order: JobOrder) -> list[str]:
    """Protected or read-only files that are not as the order says they must be."""
    recorded = read_protected(Path(order.protected))
    changed = differences(recorded, hash_protected(Path(order.run)))
    return changed + [d for d, digest in order.read_only.items() if tree_digest(Path(d)) != digest]


def is_due(order: JobOrder) -> bool:
    """Whether the attempt that this one builds on, if any, has ended well."""
    if order.needs is None:
        return True
    needed = Path(order.needs)
    return is_finished(needed) and read_result(needed).outcome == "ok"


def refused_before(order: JobOrder, isolation: Isolation) -> tuple[Ending, list[str]] | None:
    """Why the job must not even start, or None."""
    changed = changed_files(order)
    if changed:
        reason = "protected files differ before the job: " + ", ".join(changed)
        return Ending("protected_changed", reason=reason), changed
    if order.require_no_network and isolation.network != "none":
        reason = "the campaign requires jobs without a network, and here it cannot be cut off"
        return Ending("not_isolated", reason=reason), []
    return None


def seal(
    attempt: Path,
    order: JobOrder,
    ending: Ending,
    isolation: Isolation,
    job_id: str | None = None,
    changed: list[str] | None = None,
    why_not: Callable[[], str | None] = lambda: None,
) -> None:
    """Look for changes (unless `changed` says what was found), write the result, then the manifest.

    Hashing takes its time, in which the attempt may become another's: `why_not` is asked before anything is
    written and once more before the manifest is, and what it says against the seal ends this process.
    """
    outcome, reason = ending.outcome, ending.reason
    if changed is None:
        changed = changed_files(order)
        if changed:
            outcome, reason = "protected_changed", "the job changed protected files: " + ", ".join(changed)
    result = JobResult(
        outcome=outcome,
        exit_status=ending.exit_status,
        reason=reason,
        wall_s=round(ending.wall_s, 3),
        cpu_s=round(ending.cpu_s, 3),
        gpu_s=round(ending.wall_s, 3) if order.uses_gpu else 0.0,
        peak_memory_mib=ending.peak_memory_mib,
        changed=changed,
        isolation=isolation,
        machine=read_begun(attempt).machine or this_machine(uses_gpu=order.uses_gpu),
        host=socket.gethostname(),
        job_id=job_id,
    )
    _exit_if(why_not())
    shutil.rmtree(attempt / "home", ignore_errors=True)  # caches of libraries, no part of the result
    drop_checkpoint(attempt)
    drop_unsealable(attempt)
    write_json(attempt / "result.json", result.model_dump())
    _exit_if(why_not())
    write_manifest(attempt)


def _exit_if(reason: str | None) -> None:
    if reason is not None:
        sys.exit(reason)
