"""The trusted parts of a Slurm job in a container: `python -m mlipilot.jobs.phases begin|judge|end …`.

`sbatch/job.sh` runs `begin`, which writes the command line of a container; measures what such a container
shows; has `judge` say whether that will do; runs the candidate's code in one, kept apart; then `end`. It
stands in for the worker of a local job, whose child cannot be shut off so well.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from mlipilot.audit.files import write_atomic
from mlipilot.audit.manifest import is_finished
from mlipilot.errors import InputError
from mlipilot.jobs.attempt_claims import JobStart, may_be_sealed
from mlipilot.jobs.container_commands import (
    NETWORKS,
    PROGRAMS,
    container_argv,
    sources_of,
    write_container_files,
)
from mlipilot.jobs.disk_space import say_not_storable, why_not_storable
from mlipilot.jobs.job_files import Isolation, JobOrder, read_order
from mlipilot.jobs.kept_checkpoints import cpu_rest_s, read_kept, rest_s, take_up
from mlipilot.jobs.late import seal_found, seal_noted
from mlipilot.jobs.logs import tail_lines
from mlipilot.jobs.measured import SCRIPT, isolation_of, read_measured, why_not_isolated
from mlipilot.jobs.notes import Begun, Ended, read_begun, read_notes
from mlipilot.jobs.sealing import Ending, NotSealedError, ending_of, is_due, refused_before, seal

# Exit statuses that `sbatch/job.sh` knows, beside space.NO_ROOM. It tries again after any other but 0.
BAD_INPUT = 2
NOTHING_TO_RUN = 3  # the attempt is over, taken, or not due
NOT_TO_SEAL = 4  # it is to run again, or does so elsewhere


def begin(options: argparse.Namespace) -> int:
    """Claim the attempt, check what must not have changed, and write the command lines to run.

    What ended and was not sealed is sealed first: the attempt that this one builds on, or an older start's.
    `container.NETWORK` is a container's, for each way to keep it from the network; `exec.argv` is the job's,
    `exec.cpu_limit` and `exec.memory_limit` are its limits of CPU-seconds and MiB, if it has them.
    """
    attempt: Path = options.attempt
    order = read_order(attempt)
    start = _start(options)
    if is_finished(attempt):
        return NOTHING_TO_RUN
    if order.needs is not None and seal_found(Path(order.needs), start.words):
        _say(f"sealed {order.needs}, which its own job had not")
    if not is_due(order):
        return NOTHING_TO_RUN
    problem = None if may_be_sealed(attempt) else why_not_storable(attempt, order.min_free_mib)
    if problem is not None:
        return say_not_storable(problem)
    if not start.claim(attempt):
        return NOTHING_TO_RUN
    notes = read_notes(attempt)
    if notes is not None:
        seal_noted(attempt, order, notes, start, start.words)
        _say(f"sealed {attempt}, whose command had ended before this start")
        return NOTHING_TO_RUN
    # of an earlier start, perhaps on another node
    for earlier in ("measured", "measured.host", "exec.cpu_spent", "exec.excess"):
        (attempt / earlier).unlink(missing_ok=True)
    refused = refused_before(order)
    if refused is not None:
        begun = Begun.here(order, Isolation(backend="slurm", filesystem="container"), **start.noted)
        why_not = partial(start.why_not_to_seal, attempt, cancelled=False)
        seal(attempt, order, refused[0], begun, changed=refused[1], why_not=why_not)
        return NOTHING_TO_RUN
    visible = {"CUDA_VISIBLE_DEVICES": options.gpus} if order.uses_gpu else {}
    write_container_files(attempt, order.environment | visible)
    shutil.copyfile(SCRIPT, attempt / SCRIPT.name)
    kept_s = take_up(attempt, uses_gpu=order.uses_gpu)
    rest = order.model_copy(update={"wall_limit_s": rest_s(order, kept_s)})
    cpu_limit_s = cpu_rest_s(order, kept_s)
    for name, limit in (("cpu_limit", cpu_limit_s), ("memory_limit", order.memory_mib)):
        _write_words(attempt / f"exec.{name}", [] if limit is None else [f"{math.ceil(limit)}"])
    for network in NETWORKS:
        argv = container_argv(rest, attempt, options.image, network=network, program=options.container)
        _write_words(attempt / f"container.{network}", argv)
    _write_words(attempt / "exec.argv", order.argv)
    sources = sources_of(order, attempt)
    _write_words(attempt / "exec.binds", sources)
    _write_words(attempt / "exec.sources", sources.values())
    return 0


def judge(options: argparse.Namespace) -> int:
    """Say whether the job's code may run under the isolation that was measured; if not, seal the attempt.

    Raises NotSealedError.
    """
    attempt: Path = options.attempt
    order, start = read_order(attempt), _start(options)
    isolation = _isolation(attempt, order)
    begun = Begun.here(order, isolation, **start.noted)
    reason = why_not_isolated(isolation, order, " ".join(tail_lines(attempt / "measured.log")[-2:]))
    why_not = partial(start.why_not_to_seal, attempt, cancelled=False)
    if reason is None:
        if (other := why_not()) is not None:  # measuring takes its time
            raise NotSealedError(other)
        begun.note(attempt)  # last: who fails before may begin again
        return 0
    seal(attempt, order, Ending("not_isolated", reason=reason), begun, changed=[], why_not=why_not)
    _say(f"not run: {reason}")
    return NOTHING_TO_RUN


def end(options: argparse.Namespace) -> int:
    """Seal the attempt by what its command's end was, unless it is to run again. Raises NotSealedError."""
    attempt: Path = options.attempt
    order = read_order(attempt)
    if is_finished(attempt):
        return 0
    ended = Ended.model_validate_json(options.ended)
    start = JobStart(ended.job_id or "", ended.restart, ended.node, os.environ.get("SLURM_JOB_NAME", ""))
    begun = read_begun(attempt)
    if begun is None or begun.start != ended.start:
        raise NotSealedError(f"not sealed: {attempt} was begun by another start")
    why_not = partial(start.why_not_to_seal, attempt, cancelled=ended.cancelled)
    seal(attempt, order, ending_of(ended, order, read_kept(attempt).kept_s), begun, why_not=why_not)
    return 0


def _start(options: argparse.Namespace) -> JobStart:
    return JobStart(options.job_id, options.restart, options.node, os.environ.get("SLURM_JOB_NAME", ""))


def _isolation(attempt: Path, order: JobOrder) -> Isolation:
    host = [line.removeprefix("bind ") for line in _read(attempt / "measured.host").splitlines()]
    return isolation_of(read_measured(_read(attempt / "measured")), order, attempt, "slurm", host)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _write_words(path: Path, words: Iterable[str]) -> None:
    if any("\n" in word for word in words):
        raise InputError("a word of the job's command line holds a line break")
    write_atomic(path, "".join(f"{word}\n" for word in words))


def _say(words: object) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def main() -> int:
    """Parse the command line that `sbatch/job.sh` writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(required=True)
    for verb, action in (("begin", begin), ("judge", judge), ("end", end)):
        sub = verbs.add_parser(verb)
        sub.set_defaults(action=action)
        sub.add_argument("attempt", type=Path)
        if verb != "end":
            sub.add_argument("--job-id", required=True)
            sub.add_argument("--restart", type=int, required=True)
            sub.add_argument("--node", required=True)
        if verb == "begin":
            sub.add_argument("--image", type=Path, required=True)
            sub.add_argument("--container", choices=PROGRAMS, default=PROGRAMS[0])
            sub.add_argument("--gpus", default="")
        if verb == "end":
            sub.add_argument("--ended", required=True, help="the note, which may not have reached the disk")
    options = parser.parse_args()
    try:
        status: int = options.action(options)
    except NotSealedError as reason:
        _say(reason)
        return NOT_TO_SEAL
    except InputError as error:
        _say(error)
        return BAD_INPUT
    except OSError as error:
        return say_not_storable(f"{error.filename or options.attempt}: {error.strerror}")
    return status


if __name__ == "__main__":
    sys.exit(main())
