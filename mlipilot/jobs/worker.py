"""The worker, `python -m mlipilot.jobs.worker DIR`: runs one attempt of a job and seals its directory.

It outlives the controller on purpose, as a Slurm job does: a controller that was killed finds the
attempt running or sealed when it comes back. It claims the directory first, so two workers that were
started for the same attempt never both run it.
"""

from __future__ import annotations

import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from mlipilot.audit.files import tree_digest, write_json
from mlipilot.audit.manifest import drop_unsealable, write_manifest
from mlipilot.audit.protected import differences, hash_protected, read_protected
from mlipilot.jobs.order import Isolation, JobOrder, JobResult, Outcome, read_order
from mlipilot.jobs.processes import adopt_orphans, claim, end_descendants, end_with_parent

GRACE_S = 5.0
LARGEST_FILE_BYTES = 4 * 1024**3


class _CancelledError(Exception):
    """SIGTERM: `mlipilot cancel` asks the worker to end its job and to seal what there is."""


def _on_term(_signal: int, _frame: FrameType | None) -> None:
    raise _CancelledError


def _limit_child() -> None:
    """In the child before exec: it ends with the worker, dumps no core, and fills no disk by one file."""
    end_with_parent()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = LARGEST_FILE_BYTES if hard == resource.RLIM_INFINITY else min(LARGEST_FILE_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))


def changed_files(order: JobOrder) -> list[str]:
    """Protected or read-only files that are not as the order says they must be."""
    recorded = read_protected(Path(order.protected))
    changed = differences(recorded, hash_protected(Path(order.run)))
    return changed + [d for d, digest in order.read_only.items() if tree_digest(Path(d)) != digest]


def run_attempt(attempt: Path) -> None:
    """Run the order in `attempt` and seal the directory."""
    order = read_order(attempt)
    changed = changed_files(order)
    if changed:
        before = "protected files differ before the job: " + ", ".join(changed)
        _seal(attempt, order, "protected_changed", None, before, changed, started=time.monotonic())
        return
    (attempt / "output").mkdir(exist_ok=True)
    (attempt / "home").mkdir(exist_ok=True)
    started = time.monotonic()
    outcome, exit_status, reason = _run_child(attempt, order)
    changed = changed_files(order)
    if changed:
        outcome, reason = "protected_changed", "the job changed protected files: " + ", ".join(changed)
    _seal(attempt, order, outcome, exit_status, reason, changed, started)


def _run_child(attempt: Path, order: JobOrder) -> tuple[Outcome, int | None, str | None]:
    adopt_orphans()
    with (attempt / "stdout.log").open("wb") as stdout, (attempt / "stderr.log").open("wb") as stderr:
        try:
            child = subprocess.Popen(
                order.argv,
                cwd=order.cwd,
                env=order.environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                preexec_fn=_limit_child,  # safe: the worker has one thread
            )
        except OSError as error:
            return "failed", None, f"the command could not be started: {error}"
        try:
            status: int | None = child.wait(timeout=order.wall_limit_s)
        except subprocess.TimeoutExpired:
            end_descendants(GRACE_S)
            return "time_limit", None, f"the job ran past its limit of {order.wall_limit_s:g} s"
        except _CancelledError:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            end_descendants(GRACE_S)
            return "cancelled", None, "cancelled"
        end_descendants(GRACE_S)
    if status == 0:
        return "ok", status, None
    text = f"ended by signal {-status}" if status and status < 0 else f"exit status {status}"
    return "failed", status, text


def _seal(
    attempt: Path,
    order: JobOrder,
    outcome: Outcome,
    exit_status: int | None,
    reason: str | None,
    changed: list[str],
    started: float,
) -> None:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall_s = time.monotonic() - started
    result = JobResult(
        outcome=outcome,
        exit_status=exit_status,
        reason=reason,
        wall_s=round(wall_s, 3),
        cpu_s=round(usage.ru_utime + usage.ru_stime, 3),
        gpu_s=round(wall_s, 3) if order.uses_gpu else 0.0,
        peak_memory_mib=round(usage.ru_maxrss / 1024, 1),
        changed=changed,
        isolation=Isolation(),
        host=socket.gethostname(),
    )
    shutil.rmtree(attempt / "home", ignore_errors=True)  # caches of libraries, no part of the result
    drop_unsealable(attempt)
    write_json(attempt / "result.json", result.model_dump())
    write_manifest(attempt)


def main() -> int:
    """Claim the attempt that the command line names and run it."""
    attempt = Path(sys.argv[1]).resolve()
    if not claim(attempt / "worker.json"):
        return 0
    signal.signal(signal.SIGTERM, _on_term)
    try:
        run_attempt(attempt)
    except _CancelledError:
        # Asked to stop outside the child's run: nothing is sealed, the attempt counts as lost.
        end_descendants(GRACE_S)
    return 0


if __name__ == "__main__":
    sys.exit(main())
