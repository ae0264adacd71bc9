"""`mlipilot confirm`: have fresh seeds say what holds of a run that has not asked them."""

from __future__ import annotations

from typing import Annotated

import typer

from mlipilot.audit.rights import check_may_write, written_by_a_controller
from mlipilot.campaign.extent import Confirmation
from mlipilot.cli.carry import carry_on
from mlipilot.cli.console import say
from mlipilot.cli.types import Lineage, RunDirectory, begun_lineage, existing_run
from mlipilot.controller.asking_confirmation import ask_confirmation
from mlipilot.errors import InputError

_DEFAULT = Confirmation()


def confirm(
    run: RunDirectory,
    seeds: Annotated[
        int, typer.Option(min=2, max=64, help="Fresh seeds, with which each kept step is trained again.")
    ] = _DEFAULT.seeds,
    most_seeds: Annotated[
        int | None, typer.Option(min=3, max=64, help="To as many it goes on where a word is near.")
    ] = _DEFAULT.most_seeds,
    alpha: Annotated[
        float, typer.Option(min=1e-6, max=0.5, help="The chance of any false word of it.")
    ] = _DEFAULT.alpha,
    leave_out: Annotated[
        float,
        typer.Option(
            min=0, max=0.5, help="The share of the training structures that each is trained without."
        ),
    ] = _DEFAULT.leave_out,
    lineage: Lineage = 0,
) -> None:
    """Train baseline and kept steps of a finished run with fresh seeds, and say what of it holds."""
    paths = existing_run(run)
    check_may_write(*written_by_a_controller(paths, begun_lineage(paths, lineage)))
    if most_seeds is not None and most_seeds <= seeds:
        raise InputError(
            f"--most-seeds {most_seeds}: not more than --seeds, {seeds}", mend="name more, or none"
        )
    wanted = Confirmation(seeds=seeds, most_seeds=most_seeds, alpha=alpha, leave_out=leave_out)
    ask_confirmation(paths, lineage, wanted)
    if paths.image_digest.exists():
        say(f"asked; {paths.resuming(lineage)} confirms it")
        return
    carry_on(paths, lineage)
