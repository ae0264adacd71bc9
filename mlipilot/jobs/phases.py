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
from mlipilot.jobs.apptainer import environment_file, job_argv
from mlipilot.jobs.checkpoints import read_begun, rest_s, take_up
from mlipilot.jobs.order import Isolation, read_order
from mlipilot.jobs.seal import Ending, ending_of, is_due, refused_before, seal, signed_status
from mlipilot.jobs.starts import JobStart

NOTHING_TO_RUN = 3  # exit status: the attempt is over, taken, or not due
_TIMED_OUT = (124, 137)  # of coreutils' timeout: after its TERM, after its KILL


def begin(options: argparse.Namespace) -> int:
    """Claim the attempt, check what must not have changed, and write the command line to run."""
    attempt: Path = options.attempt
    order = read_order(attempt)
    start = _start(options)
    if is_finished(attempt) or not is_due(order) or not start.claim(attempt):
        return NOTHING_TO_RUN
    refused = refused_before(order, _isolation(options))
    if refused is not None:
        why_not = partial(start.why_not_to_seal, attempt, cancelled=False)
        isolation = _isolation(options)
        seal(attempt, order, refused[0], isolation, start.job_id, changed=refused[1], why_not=why_not)
        return NOTHING_TO_RUN
    visible = {"CUDA_VISIBLE_DEVICES": options.gpus} if order.uses_gpu else {}
    write_atomic(attempt / "exec.env", environment_file(order.environment | visible))
    left_s = rest_s(order, take_up(attempt, uses_gpu=order.uses_gpu))
    rest = order.model_copy(update={"wall_limit_s": left_s})
    argv = job_argv(rest, attempt, options.image, network=options.network)
    if any("\n" in word for word in argv):
        raise ValueError("a word of the command line holds a line break")
    write_atomic(attempt / "exec.argv", "".join(f"{word}\n" for word in argv))
    return 0


def end(options: argparse.Namespace) -> int:
    """Say how the command ended and seal the attempt, unless it is to run again or does so elsewhere."""
    attempt: Path = options.attempt
    order = read_order(attempt)
    if is_finished(attempt):
        return 0
    status, wall_s = signed_status(options.status), read_begun(attempt).kept_s + options.wall_s
    outcome, reason = ending_of(status)
    if options.cancelled:
        outcome, reason = "cancelled", "ended from outside"
    elif options.status in _TIMED_OUT and wall_s >= order.wall_limit_s:
        outcome, reason = "time_limit", f"the job ran past its limit of {order.wall_limit_s:g} s"
    ending = Ending(
        outcome=outcome,
        exit_status=None if outcome in ("cancelled", "time_limit") else status,
        reason=reason,
        wall_s=wall_s,
        cpu_s=options.cpu_s,
    )
    why_not = partial(_start(options).why_not_to_seal, attempt, cancelled=options.cancelled)
    seal(attempt, order, ending, _isolation(options), options.job_id, why_not=why_not)
    return 0


def _start(options: argparse.Namespace) -> JobStart:
    return JobStart(options.job_id, options.restart, options.node, os.environ.get("SLURM_JOB_NAME", ""))


def _isolation(options: argparse.Namespace) -> Isolation:
    return Isolation(backend="slurm", filesystem="container", network=options.network)


def main() -> int:
    """Parse the command line that `sbatch/job.sh` writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(required=True)
    for verb, action in (("begin", begin), ("end", end)):
        sub = verbs.add_parser(verb)
        sub.set_defaults(action=action)
        sub.add_argument("attempt", type=Path)
        sub.add_argument("--job-id", required=True)
        sub.add_argument("--restart", type=int, required=True)
        sub.add_argument("--node", required=True)
        sub.add_argument("--network", choices=["none", "host"], required=True)
        if verb == "begin":
            sub.add_argument("--image", type=Path, required=True)
            sub.add_argument("--gpus", default="")
        else:
            sub.add_argument("--status", type=int, required=True)
            sub.add_argument("--wall-s", type=float, required=True)
            sub.add_argument("--cpu-s", type=float, required=True)
            sub.add_argument("--cancelled", action="store_true")
    options = parser.parse_args()
    status: int = options.action(options)
    return status


if __name__ == "__main__":
    sys.exit(main())
