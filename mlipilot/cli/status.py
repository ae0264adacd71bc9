"""`mlipilot status`: where a run stands."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from mlipilot.campaign.paths import LineagePaths, RunPaths
from mlipilot.cli.console import stdout
from mlipilot.cli.types import AsJson, RunDirectory, existing_run, only_lineage, print_json
from mlipilot.report.data import load_lineage
from mlipilot.report.status import status_dict, status_line
from mlipilot.report.tables import iteration_table


def status(
    run: RunDirectory,
    watch: Annotated[
        bool, typer.Option("--watch", help="Draw again every two seconds until the end.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show where a run stands."""
    paths = existing_run(run)
    lineage = only_lineage(paths)
    if as_json:
        print_json(status_dict(load_lineage(paths, lineage)))
        return
    with Live(_draw(paths, lineage), console=stdout, auto_refresh=False) as live:
        while watch and load_lineage(paths, lineage).phase in ("preparing", "running"):
            time.sleep(2.0)
            live.update(_draw(paths, lineage), refresh=True)


def _draw(paths: RunPaths, lineage: LineagePaths) -> Group:
    view = load_lineage(paths, lineage)
    return Group(Text(status_line(status_dict(view))), iteration_table(view))
