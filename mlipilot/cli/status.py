"""`mlipilot status`: where a run stands."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.console import Group
from rich.live import Live

from mlipilot.audit.lock import holder
from mlipilot.campaign.paths import LineagePaths, RunPaths
from mlipilot.cli.console import stdout
from mlipilot.cli.types import AsJson, RunDirectory, existing_run, only_lineage, print_json
from mlipilot.report.data import load_lineage
from mlipilot.report.tables import iteration_table, status_dict, status_line


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
        print_json(_status(paths, lineage))
        return
    with Live(_draw(paths, lineage), console=stdout, auto_refresh=False) as live:
        while watch and _status(paths, lineage)["phase"] not in ("finished", "cancelled", "paused"):
            time.sleep(2.0)
            live.update(_draw(paths, lineage), refresh=True)


def _status(paths: RunPaths, lineage: LineagePaths) -> dict[str, object]:
    found: dict[str, object] = status_dict(load_lineage(paths, lineage))
    held = holder(lineage.root)
    if found["phase"] == "open":
        found["phase"] = "running" if held else "interrupted"
    return found | {"controller": held}


def _draw(paths: RunPaths, lineage: LineagePaths) -> Group:
    found = _status(paths, lineage)
    return Group(status_line(found), iteration_table(load_lineage(paths, lineage)))
