"""Carrying a run to its end and showing what came of it; `run` and `resume` share this."""

from __future__ import annotations

import signal
from types import FrameType

from mlipilot.audit.ledger import read_ledger
from mlipilot.cli.console import ConsoleObserver, say, stdout
from mlipilot.controller.carrying import run_lineage
from mlipilot.controller.state import replay
from mlipilot.errors import CheckFailedError
from mlipilot.paths import RunPaths


def carry_on(run: RunPaths, lineage: int = 0, *, unattended: bool = False) -> None:
    """Run the lineage to its end, write the run's report, print the gates. Raises as `run_lineage` does.

    A start that nobody asked for leaves a lineage that is over as it is, its report included.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    with ConsoleObserver() as observer:
        if unattended and replay(read_ledger(run.lineage(lineage).ledger)).finished is not None:
            observer.event(f"lineage {lineage} of {run.root} is over already: nothing to do")
            return
        try:
            state = run_lineage(run, lineage, observer, unattended=unattended)
        except KeyboardInterrupt:
            observer.event(
                f"interrupted: running jobs go on by themselves; {run.resuming(lineage)} takes up here, "
                f"`mlipilot cancel {run.root}` ends them"
            )
            raise
        # The report imports torch and matplotlib: not before they are needed.
        from mlipilot.report.write import write_report

        observer.event("writing the report")
        report = write_report(run)
    from mlipilot.report.lineage_reading import load_lineage
    from mlipilot.report.terminal_tables import gate_table, iteration_table

    view = load_lineage(run, run.lineage(lineage))
    stdout.print(iteration_table(view))
    stdout.print(gate_table(view))
    say(f"report: {report}")
    if state.incumbent is None:
        raise CheckFailedError(f"the campaign ended without a measured model: {state.finished}")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """What Slurm sends before it kills, and often twice: the lineage is let go as after Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt
