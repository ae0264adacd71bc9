"""The trusted ends of every attempt: what must not have changed, and the sealed result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mlipilot.audit.discarding import remove
from mlipilot.audit.files import tree_digest, write_atomic, write_json
from mlipilot.audit.manifest import MANIFEST, drop_unsealable, is_finished, manifest_text
from mlipilot.audit.protected import differences, hash_protected, read_protected
from mlipilot.jobs.intake import take_over
from mlipilot.jobs.job_files import JobOrder, JobResult, Outcome, read_order, result_if_any
from mlipilot.jobs.kept_checkpoints import drop_checkpoint, read_kept
from mlipilot.jobs.notes import Begun, Ended
from mlipilot.paths import RESULT

_TIMED_OUT = (124, -9)  # of coreutils' timeout: after its TERM, after its KILL


class NotSealedError(SystemExit):
    """Why an attempt is not to be sealed by who would have; it ends a process that has nothing else to do."""


@dataclass(frozen=True)
class Ending:
    """How a job's command ended and what it cost."""

    outcome: Outcome
    exit_status: int | None = None
    reason: str | None = None
    wall_s: float = 0.0
    """With what a checkpoint of earlier starts took."""
    cpu_s: float | None = 0.0
    """The same, as if one core had been busy in them."""
    peak_memory_mib: float | None = None


def ending_of(ended: Ended, order: JobOrder, kept_s: float) -> Ending:
    """What the end of its command means for an attempt, a checkpoint of which had taken `kept_s` before."""
    status: int | None = ended.exit_status
    wall_s = kept_s + ended.wall_s
    cpu_s = None if ended.cpu_s is None else kept_s + ended.cpu_s
    over = _over_machine_limit(order, wall_s, wall_s if cpu_s is None else cpu_s)
    outcome, reason = _outcome_of(ended.exit_status)
    if ended.cancelled:
        outcome, reason, status = "cancelled", "ended from outside", None
    elif ended.excess is not None:
        outcome, reason, status = "failed", ended.excess, None
    elif over is not None:
        outcome, reason, status = "time_limit", over, None
    elif ended.timed_out or (ended.exit_status in _TIMED_OUT and wall_s >= order.wall_limit_s):
        reason = f"the job ran past its limit of {order.wall_limit_s:g} s"
        outcome, status = "time_limit", None
    return Ending(outcome, status, reason, wall_s, cpu_s, ended.peak_memory_mib)


def _over_machine_limit(order: JobOrder, wall_s: float, cpu_s: float) -> str | None:
    """What was measured of a job that reached its limit of machine seconds, in words; else None."""
    spent_s, unit = (wall_s * order.gpus, "GPU") if order.uses_gpu else (cpu_s, "CPU")
    if order.machine_limit_s is None or round(spent_s, 3) < order.machine_limit_s:
        return None
    return (
        f"the training took {spent_s:.1f} {unit}-seconds and has {order.machine_limit_s:.1f}: what the "
        "baseline's took, times budget.training_seconds_over_baseline"
    )


def _outcome_of(status: int) -> tuple[Outcome, str | None]:
    if status == 0:
        return "ok", None
    return "failed", f"ended by signal {-status}" if status < 0 else f"exit status {status}"


def signed_status(status: int) -> int:
    """An exit status as a shell, `timeout` or Apptainer reports it, which is 128 plus a signal's number."""
    return status if status <= 128 else 128 - status


def changed_files(order: JobOrder) -> list[str]:
    """Protected or read-only files that are not as the order says they must be."""
    recorded = read_protected(Path(order.protected))
    changed = differences(recorded, hash_protected(Path(order.run)))
    return changed + [folder for folder, digest in order.read_only.items() if _digest(folder) != digest]


def _digest(folder: str) -> str | None:
    """None where a job left there what cannot be read: folders that are too deep, say, or shut."""
    try:
        return tree_digest(Path(folder))
    except (OSError, ValueError, RecursionError):
        return None


def is_due(order: JobOrder) -> bool:
    """Whether the attempt that this one builds on, if any, has ended well, or its result is none any more."""
    if order.needs is None:
        return True
    needed = Path(order.needs)
    result = result_if_any(needed)
    return is_finished(needed) and (result is None or result.outcome == "ok")


def is_never_due(attempt: Path) -> bool:
    """Whether an attempt builds on one that has ended otherwise than well: no start of it writes anything."""
    try:
        order = read_order(attempt)
    except (OSError, ValueError):
        return False
    return order.needs is not None and is_finished(Path(order.needs)) and not is_due(order)


def refused_before(order: JobOrder) -> tuple[Ending, list[str]] | None:
    """Why the job must not even start, and the files that were changed; or None."""
    changed = changed_files(order)
    if order.needs is not None and result_if_any(Path(order.needs)) is None:
        changed.append(f"{order.needs}/{RESULT}")
    if not changed:
        return None
    return Ending(
        "protected_changed", reason=f"protected files differ before the job: {', '.join(changed)}"
    ), changed


def seal(
    attempt: Path,
    order: JobOrder,
    ending: Ending,
    begun: Begun,
    changed: list[str] | None = None,
    why_not: Callable[[], str | None] = lambda: None,
    sealed_by: str | None = None,
) -> None:
    """Look for changes (unless `changed` says what was found), take the output over, write what came of it.

    Whatever a candidate left is no fault but its own. Removing and hashing take their time, in which the
    attempt may become another's: `why_not` is asked before anything is written and once more before the
    manifest is, and what it says against the seal is a NotSealedError. Raises OSError for a full disk.
    """
    outcome, reason = ending.outcome, ending.reason
    if changed is None:
        changed = changed_files(order)
        if changed:
            outcome, reason = "protected_changed", "the job changed protected files: " + ", ".join(changed)
    kept = read_kept(attempt)
    _refuse_if(why_not())
    remove(attempt / "home")  # caches of libraries, no part of the result
    drop_checkpoint(attempt)
    dropped = None
    if order.keeps is None:
        drop_unsealable(attempt)
    else:
        taken = take_over(attempt, order.keeps)
        dropped = taken.dropped if taken.dropped.entries else None
        if outcome == "ok" and taken.faults:
            outcome, reason = "failed", f"the hand-over is refused: {'; '.join(taken.faults)}"
    result = JobResult(
        outcome=outcome,
        exit_status=ending.exit_status,
        reason=reason,
        wall_s=round(ending.wall_s, 3),
        cpu_s=None if ending.cpu_s is None else round(ending.cpu_s, 3),
        gpu_s=round(ending.wall_s * order.gpus, 3) if order.uses_gpu else 0.0,
        peak_memory_mib=ending.peak_memory_mib,
        changed=changed,
        isolation=begun.isolation,
        machine=kept.machine or begun.machine,
        host=begun.host,
        job_id=begun.job_id,
        sealed_by=sealed_by,
        dropped=dropped,
    )
    write_json(attempt / RESULT, result.model_dump())
    manifest = manifest_text(attempt)
    _refuse_if(why_not())
    write_atomic(attempt / MANIFEST, manifest)


def _refuse_if(reason: str | None) -> None:
    if reason is not None:
        raise NotSealedError(reason)
