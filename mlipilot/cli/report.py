"""`mlipilot report`: write a run's report, finished or not."""

from __future__ import annotations

from mlipilot.cli.console import stdout
from mlipilot.cli.types import RunDirectory, existing_run, only_lineage


def report(run: RunDirectory) -> None:
    """Write report.html, report.md and the exported incumbent."""
    paths = existing_run(run)
    only_lineage(paths)
    from mlipilot.report.write import write_report

    stdout.print(f"report: {write_report(paths)}", soft_wrap=True)
