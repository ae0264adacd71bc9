"""The worker, `python -m mlipilot.jobs.worker DIR`: runs one attempt of a job and seals its directory.

It outlives the controller on purpose, as a Slurm job does: a controller that was killed finds the
attempt running or sealed when it comes back. It claims the directory first, so two workers that were
started for the same attempt never both run it. With `--image SIF` the job runs in a container, by the command
line that Slurm jobs have, with `--sandbox` in a sandbox; the worker stays outside.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Literal

from mlipilot.audit.discarding import remove
from mlipilot.audit.files import write_atomic
from mlipilot.jobs.attempt_claims import JobStart, claim_here, may_be_sealed
from mlipilot.jobs.bounds import PROCESSES_OF_A_USER, Bounds
from mlipilot.jobs.container_commands import (
    NETWORKS,
    Container,
    binds_of,
    container_argv,
    container_environment,
    find_program,
    write_container_files,
)
from mlipilot.jobs.disk_space import say_not_storable, why_not_storable
from mlipilot.jobs.job_files import Isolation, JobOrder, read_order
from mlipilot.jobs.kept_checkpoints import cpu_rest_s, read_kept, rest_s, take_up
from mlipilot.jobs.late import seal_found, seal_noted
from mlipilot.jobs.measured import isolation_of, measure, of_host, read_measured, why_not_isolated
from mlipilot.jobs.notes import Begun, Ended, read_notes
from mlipilot.jobs.processes import (
    Meter,
    adopt_orphans,
    end_descendants,
    end_with_parent,
    tasks_of_this_user,
)
from mlipilot.jobs.sandbox import measured_isolation, sandbox_argv
from mlipilot.jobs.sealing import Ending, ending_of, is_due, refused_before, seal, signed_status
from mlipilot.paths import STDERR, STDOUT

GRACE_S = 5.0
SETTLE_S = 2.0
LOOK_S = 1.0  # between two looks at what a job takes
LOOK_AT_TRUSTED_S = 5.0  # the same for what measures speed
LARGEST_FILE_BYTES = 4 * 1024**3


class _ExcessError(Exception):
    """What the job has gone beyond, in words."""


class _CancelledError(Exception):
    """SIGTERM: `mlipilot cancel` asks the worker to end its job and to seal what there is."""


class _NotStartedError(Exception):
    """The command could not be run at all."""


def _on_term(_signal: int, _frame: FrameType | None) -> None:
    raise _CancelledError


def _limit_child(last_signal: int, most_tasks: int) -> None:
    """In the child before exec: it ends with the worker, dumps no core, its files and forks are bounded."""
    end_with_parent(last_signal)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for kind, most in ((resource.RLIMIT_FSIZE, LARGEST_FILE_BYTES), (resource.RLIMIT_NPROC, most_tasks)):
        soft, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (most if soft == resource.RLIM_INFINITY else min(most, soft), hard))


def run_attempt(
    attempt: Path, start: JobStart | None, container: Container | None = None, *, sandboxed: bool = False
) -> None:
    """Run the order in `attempt` and seal the directory; exits where the end is not the attempt's own."""
    order = read_order(attempt)

    def why_not(*, cancelled: bool = False) -> str | None:
        return start.why_not_to_seal(attempt, cancelled=cancelled) if start else None

    isolation = Isolation(
        backend="slurm" if start else "local", filesystem="container" if container else "host"
    )
    who = start.noted if start else {}
    refused = refused_before(order)
    if refused is not None:
        begun = Begun.here(order, isolation, **who)
        seal(attempt, order, refused[0], begun, changed=refused[1], why_not=why_not)
        return
    remove(attempt / "home")
    (attempt / "home").mkdir()
    kept_s = take_up(attempt, uses_gpu=order.uses_gpu)
    limit_s, cpu_limit_s = rest_s(order, kept_s), cpu_rest_s(order, kept_s)
    words = ""
    if container is not None:
        write_container_files(attempt, order.environment)
        text, words = measure(_contained(attempt, order, container, limit_s), binds_of(order, attempt))
        write_atomic(attempt / "measured", text)
        host = of_host(order, attempt)
        isolation = isolation_of(read_measured(text), order, attempt, isolation.backend, host)
    elif sandboxed:
        isolation, text, words = measured_isolation(order, attempt)
        write_atomic(attempt / "measured", text)
    begun = Begun.here(order, isolation, **who)
    reason = why_not_isolated(isolation, order, words)
    if reason is not None:
        seal(attempt, order, Ending("not_isolated", reason=reason), begun, changed=[], why_not=why_not)
        return
    begun.note(attempt)
    meter, started = Meter(), time.monotonic()
    bounds = Bounds(attempt, order.memory_mib)

    def has_reached_limit() -> bool:
        taken = meter.look()
        if (excess := bounds.excess(taken)) is not None:
            raise _ExcessError(excess)
        return cpu_limit_s is not None and taken.cpu_s >= cpu_limit_s

    try:
        command = _command(attempt, order, container, limit_s, sandboxed=sandboxed)
        exit_status, how, excess = _run_child(
            attempt, command, limit_s, has_reached_limit, on_slurm=start is not None
        )
    except _NotStartedError as error:
        seal(attempt, order, Ending("failed", reason=str(error)), begun, why_not=why_not)
        return
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = Ended(
        exit_status=exit_status,
        cancelled=how == "cancelled",
        timed_out=how == "timed out",
        excess=excess,
        wall_s=time.monotonic() - started,
        cpu_s=max(usage.ru_utime + usage.ru_stime, meter.last.cpu_s),
        peak_memory_mib=round(usage.ru_maxrss / 1024, 1),
        **who,
    )
    ended.note(attempt)
    seal(
        attempt,
        order,
        ending_of(ended, order, read_kept(attempt).kept_s),
        begun,
        why_not=partial(why_not, cancelled=ended.cancelled),
    )


@dataclass(frozen=True)
class _Command:
    argv: list[str]
    cwd: str
    environment: dict[str, str]
    is_inside: bool
    """Of a container or sandbox: what says how it ended is a status as of a shell."""
    look_s: float
    last_signal: int = signal.SIGKILL
    """When the worker is gone."""


def _command(
    attempt: Path, order: JobOrder, container: Container | None, limit_s: float, *, sandboxed: bool
) -> _Command:
    is_trusted = order.keeps is None and order.machine_limit_s is None
    look_s = LOOK_AT_TRUSTED_S if is_trusted else LOOK_S
    if container is not None:
        argv = [*_contained(attempt, order, container, limit_s), *order.argv]
        # `timeout`, which stands around a container, ends it on a TERM; killed, it could not.
        return _Command(argv, str(attempt), container_environment(), True, look_s, signal.SIGTERM)
    if sandboxed:
        return _Command([*sandbox_argv(order, attempt), *order.argv], "/", order.environment, True, look_s)
    return _Command(order.argv, order.cwd, order.environment, False, look_s)


def _run_child(
    attempt: Path,
    command: _Command,
    limit_s: float,
    has_reached_limit: Callable[[], bool],
    *,
    on_slurm: bool,
) -> tuple[int, Literal["by itself", "cancelled", "timed out"], str | None]:
    """The command's exit status, how it ended, its excess. From then on a SIGTERM ends nothing any more."""
    adopt_orphans()
    most_tasks = tasks_of_this_user() + PROCESSES_OF_A_USER
    with (attempt / STDOUT).open("wb") as stdout, (attempt / STDERR).open("wb") as stderr:
        try:
            child = subprocess.Popen(
                command.argv,
                cwd=command.cwd,
                env=command.environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                # safe: the worker has one thread
                preexec_fn=lambda: _limit_child(command.last_signal, most_tasks),
            )
        except OSError as error:
            raise _NotStartedError(f"the command could not be started: {error}") from error
        try:
            status = _wait(child, limit_s, has_reached_limit, command.look_s)
            if status != 0 and on_slurm:
                time.sleep(SETTLE_S)  # what ends a job may reach its command before it reaches this process
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        except subprocess.TimeoutExpired:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            end_descendants(GRACE_S)
            return -signal.SIGTERM, "timed out", None
        except _ExcessError as error:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            end_descendants(0)  # it may take more while it is waited for
            return -signal.SIGKILL, "by itself", str(error)
        except _CancelledError:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            end_descendants(GRACE_S)
            return -signal.SIGTERM, "cancelled", None
        end_descendants(GRACE_S)
    return signed_status(status) if command.is_inside else status, "by itself", None


def _wait(
    child: subprocess.Popen[bytes], limit_s: float, has_reached_limit: Callable[[], bool], look_s: float
) -> int:
    """The child's exit status. Raises subprocess.TimeoutExpired at a limit."""
    deadline = time.monotonic() + limit_s
    while True:
        left_s = max(0.0, deadline - time.monotonic())
        try:
            return child.wait(timeout=min(left_s, look_s))
        except subprocess.TimeoutExpired:
            if left_s <= look_s or has_reached_limit():
                raise


def _contained(attempt: Path, order: JobOrder, container: Container, limit_s: float) -> list[str]:
    """The host's command line for the job's container, which ends it later than the worker does."""
    later = order.model_copy(update={"wall_limit_s": limit_s + 2 * GRACE_S})
    return container_argv(later, attempt, container.image, network=container.network, program=find_program())


def main() -> int:
    """Claim the attempt that the command line names and run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("attempt", type=Path)
    parser.add_argument("--image", type=Path)
    parser.add_argument("--network", choices=NETWORKS, default="host")
    parser.add_argument("--sandbox", action="store_true")
    options = parser.parse_args()
    attempt = options.attempt.resolve()
    start = JobStart.of_environment(os.environ)  # a local controller does not hand its own on
    signal.signal(signal.SIGTERM, _on_term)  # before the claim, which says whom to ask
    container = Container(options.image, options.network) if options.image else None
    try:
        return _begin(attempt, start, container, sandboxed=options.sandbox)
    except _CancelledError:
        # Asked to stop outside the child's run: nothing is sealed, the attempt counts as lost.
        end_descendants(GRACE_S)
    return 0


def _begin(attempt: Path, start: JobStart | None, container: Container | None, *, sandboxed: bool) -> int:
    order = read_order(attempt)
    if start is not None and order.needs is not None:
        seal_found(Path(order.needs), start.words)
    if not is_due(order):
        return 0
    problem = None if may_be_sealed(attempt) else why_not_storable(attempt, order.min_free_mib)
    if problem is not None:
        return say_not_storable(problem)
    if not (start.claim(attempt) if start else claim_here(attempt)):
        return 0
    notes = read_notes(attempt) if start else None
    if start is not None and notes is not None:
        seal_noted(attempt, order, notes, start, start.words)
    else:
        run_attempt(attempt, start, container, sandboxed=sandboxed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
