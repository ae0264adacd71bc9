"""`mlipilot report`: write a run's report, finished or not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlipilot.cli.console import say
from mlipilot.cli.types import RunDirectory, begun_lineage, existing_run, path_option


def report(
    run: RunDirectory,
    lineage: Annotated[
        int | None,
        typer.Option(min=0, help="Which lineage to show in full, of several; the best one if not given."),
    ] = None,
    output: Annotated[
        Path | None, path_option(help="Where to, instead of into the run, which is then only read.")
    ] = None,
) -> None:
    """Write report.html, report.md and the exported incumbent."""
    paths = existing_run(run)
    if lineage is None and not paths.lineages():
        lineage = 0  # which has not begun: the error says so
    shown = None if lineage is None else begun_lineage(paths, lineage)
    from mlipilot.report.write import write_report

    say(f"report: {write_report(paths, shown, output)}")
