"""`mlipilot drop`: give up a candidate that pauses its run again and again."""

from __future__ import annotations

from typing import Annotated

import typer

from mlipilot.audit.rights import check_may_write, written_by_a_controller
from mlipilot.cli.console import ConsoleObserver, say
from mlipilot.cli.types import Lineage, RunDirectory, begun_lineage, existing_run
from mlipilot.controller.dropping import drop_candidate
from mlipilot.errors import InputError
from mlipilot.untrusted import one_line

_LONGEST = 500


def drop(
    run: RunDirectory,
    iteration: Annotated[int, typer.Argument(metavar="N", min=0, help="The iteration of the candidate.")],
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="The reason that goes on record.")],
    lineage: Lineage = 0,
) -> None:
    """Give up a candidate that cannot be dealt with: it is judged invalid, and the run can go on."""
    paths = existing_run(run)
    begun = begun_lineage(paths, lineage)
    check_may_write(*written_by_a_controller(paths, begun))
    said = one_line(why, _LONGEST)
    if not said:
        raise InputError(f"--why {why!r} gives no reason", mend="say what a reader of the record must know")
    drop_candidate(paths, lineage, iteration, said, ConsoleObserver().event)
    say(f"dropped; {paths.resuming(lineage)} judges it invalid and goes on")
