"""`mlipilot show`: one iteration with its hypothesis, diff, metrics and verdict."""

from __future__ import annotations

from typing import Annotated

import typer

from mlipilot.cli.console import stdout
from mlipilot.cli.types import AsJson, Lineage, RunDirectory, begun_lineage, existing_run, print_json
from mlipilot.report.lineage_reading import load_lineage
from mlipilot.report.status_json import iteration_dict
from mlipilot.report.terminal_tables import iteration_panel


def show(
    run: RunDirectory,
    number: Annotated[int, typer.Argument(metavar="N", min=0, help="The iteration; 0 is the baseline.")],
    lineage: Lineage = 0,
    as_json: AsJson = False,
) -> None:
    """Show one iteration: hypothesis, diff, metrics, verdict and why."""
    paths = existing_run(run)
    view = load_lineage(paths, begun_lineage(paths, lineage))
    if as_json:
        print_json(iteration_dict(view, number))
    else:
        stdout.print(iteration_panel(view, number))
