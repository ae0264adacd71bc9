"""`mlipilot status`: where a run stands."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from mlipilot.cli.console import stdout
from mlipilot.cli.types import AsJson, RunDirectory, begun_lineage, existing_run, print_json
from mlipilot.paths import LineagePaths, RunPaths
from mlipilot.report.lineage_reading import load_lineage
from mlipilot.report.status_json import status_dict, status_line
from mlipilot.report.terminal_tables import iteration_table
from mlipilot.report.text import joined


def status(
    run: RunDirectory,
    watch: Annotated[
        bool, typer.Option("--watch", help="Draw again every two seconds until the end.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show where a run stands."""
    paths = existing_run(run)
    lineages = paths.lineages() or [begun_lineage(paths, 0)]  # which raises
    if as_json:
        found = [status_dict(load_lineage(paths, lineage)) for lineage in lineages]
        print_json(found[0] | {"lineages": found})
        return
    with Live(_draw(paths, lineages), console=stdout, auto_refresh=False) as live:
        while watch and any(_goes_on(paths, lineage) for lineage in lineages):
            time.sleep(2.0)
            live.update(_draw(paths, lineages), refresh=True)


def _goes_on(paths: RunPaths, lineage: LineagePaths) -> bool:
    return load_lineage(paths, lineage).phase in ("preparing", "running", "waiting")


def _draw(paths: RunPaths, lineages: list[LineagePaths]) -> Group:
    parts: list[RenderableType] = []
    views = [load_lineage(paths, lineage) for lineage in lineages]
    several = len({cluster for view in views for cluster in view.clusters}) > 1
    for view in views:
        where = f" on {joined(view.clusters)}" if several and view.clusters else ""
        name = f"{view.lineage.root.name}{where}: " if len(lineages) > 1 else ""
        parts += [Text(name + status_line(status_dict(view))), iteration_table(view)]
    return Group(*parts)
