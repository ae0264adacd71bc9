"""The trusted ends of a Slurm job in a container: `python -m mlipilot.jobs.phases begin|end ATTEMPT …`.

`sbatch/job.sh` runs `begin`, then the command line that `begin` wrote (the candidate's code, kept apart),
then `end`. It stands in for the worker of a local job, whose child cannot be shut off so well.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path

from mlipilot.audit.files import write_atomic
from mlipilot.audit.manifest import is_finished
from mlipilot.errors import InputError
from mlipilot.jobs.apptainer import PROGRAMS, environment_file, job_argv
from mlipilot.jobs.checkpoints import read_kept, rest_s, take_up
from mlipilot.jobs.late import seal_found, seal_noted
from mlipilot.jobs.notes import Begun, Ended, read_begun, read_notes
from mlipilot.jobs.order import Isolation, read_order
from mlipilot.jobs.seal import NotSealedError, ending_of, is_due, refused_before, seal
from mlipilot.jobs.space import say_not_storable, why_not_storable
from mlipilot.jobs.starts import JobStart, may_be_sealed

# Exit statuses that `sbatch/job.sh` knows, beside space.NO_ROOM. It tries again after any other but 0.
BAD_INPUT = 2
NOTHING_TO_RUN = 3  # the attempt is over, taken, or not due
NOT_TO_SEAL = 4  # it is to run again, or does so elsewhere


def begin(options: argparse.Namespace) -> int:
    """Claim the attempt, check what must not have changed, and write the command line to run.

    What ended and was not sealed is sealed first: the attempt that this one builds on, or an older start's.
    """
    attempt: Path = options.attempt
    order = read_order(attempt)
    name = os.environ.get("SLURM_JOB_NAME", "")
    start = JobStart(options.job_id, options.restart, options.node, name)
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
    isolation = Isolation(backend="slurm", filesystem="container", network=options.network)
    begun = Begun.here(order, isolation, **start.noted)
    refused = refused_before(order, isolation)
    if refused is not None:
        why_not = partial(start.why_not_to_seal, attempt, cancelled=False)
        seal(attempt, order, refused[0], begun, changed=refused[1], why_not=why_not)
        return NOTHING_TO_RUN
    visible = {"CUDA_VISIBLE_DEVICES": options.gpus} if order.uses_gpu else {}
    write_atomic(attempt / "exec.env", environment_file(order.environment | visible))
    left_s = rest_s(order, take_up(attempt, uses_gpu=order.uses_gpu))
    rest = order.model_copy(update={"wall_limit_s": left_s})
    argv = job_argv(rest, attempt, options.image, network=options.network, program=options.container)
    if any("\n" in word for word in argv):
        raise InputError("a word of the job's command line holds a line break")
    write_atomic(attempt / "exec.argv", "".join(f"{word}\n" for word in argv))
    begun.note(attempt)  # last: who fails before may begin again
    return 0


def end(options: argparse.Namespace) -> int:
    """Seal the attempt by what its command's end was, unless it is to run again or does so elsewhere."""
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


def _say(words: object) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def main() -> int:
    """Parse the command line that `sbatch/job.sh` writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(required=True)
    for verb, action in (("begin", begin), ("end", end)):
        sub = verbs.add_parser(verb)
        sub.set_defaults(action=action)
        sub.add_argument("attempt", type=Path)
        if verb == "begin":
            sub.add_argument("--job-id", required=True)
            sub.add_argument("--restart", type=int, required=True)
            sub.add_argument("--node", required=True)
            sub.add_argument("--network", choices=["none", "host"], required=True)
            sub.add_argument("--image", type=Path, required=True)
            sub.add_argument("--container", choices=PROGRAMS, default=PROGRAMS[0])
            sub.add_argument("--gpus", default="")
        else:
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
