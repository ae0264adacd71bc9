"""`mlipilot report`: write a run's report, finished or not."""

from __future__ import annotations

from mlipilot.cli.console import stdout
from mlipilot.cli.types import Lineage, RunDirectory, begun_lineage, existing_run


def report(run: RunDirectory, lineage: Lineage = 0) -> None:
    """Write report.html, report.md and the exported incumbent."""
    paths = existing_run(run)
    chosen = begun_lineage(paths, lineage)
    from mlipilot.report.write import write_report

    stdout.print(f"report: {write_report(paths, chosen)}", soft_wrap=True)
