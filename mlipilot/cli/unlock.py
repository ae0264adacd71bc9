"""`mlipilot unlock`: take a lineage from a controller that is over but did not let go."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mlipilot.audit.lock import clear, examine
from mlipilot.audit.rights import check_may_write
from mlipilot.cli.console import say
from mlipilot.cli.types import Lineage, RunDirectory, begun_lineage, existing_run
from mlipilot.errors import InputError
from mlipilot.jobs.slurm_job import fate_of_job


def unlock(
    run: RunDirectory,
    lineage: Lineage = 0,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask: the controller is over.")] = False,
) -> None:
    """Clear the lock of a controller that is over, when only you can know that it is."""
    paths = existing_run(run)
    begun = begun_lineage(paths, lineage)
    directory = begun.root
    found = examine(directory, fate_of_job)
    if found is None:
        say(f"nobody holds lineage {lineage} of {paths.root}")
        return
    claim, fate = found
    if fate.state == "alive":
        job = f", or `scancel {claim.job.id}` on its cluster" if claim.job else ""
        mend = f"end it first: `mlipilot cancel {paths.root}`{job}"
        raise InputError(f"its controller is alive ({claim.words}): {fate.why}", file=directory, mend=mend)
    say(f"lineage {lineage} is held by {claim.words} (epoch {claim.epoch}); {fate.why}")
    if not yes:
        if not sys.stdin.isatty():
            raise InputError("to clear a lock takes your word", mend="`--yes`, once it is certainly over")
        typer.confirm("Is that controller certainly over?", abort=True)
    check_may_write(begun.controller)
    clear(directory, claim)
    say(f"cleared; {paths.resuming(lineage)} goes on")
