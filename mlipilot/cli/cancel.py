"""`mlipilot cancel`: end a run's jobs and its controller, in order."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import cache

from mlipilot.audit.ledger import LedgerError, read_ledger
from mlipilot.audit.lock import holder
from mlipilot.campaign.paths import LineagePaths
from mlipilot.cli.console import ConsoleObserver, stdout
from mlipilot.cli.types import RunDirectory, existing_run
from mlipilot.controller.loop import CancelledError, cancel_idle_lineage
from mlipilot.controller.state import replay
from mlipilot.jobs.endpoint_job import ask_to_end
from mlipilot.jobs.slurm_job import fate_of_job

_PATIENCE_S = 150.0


def cancel(run: RunDirectory) -> None:
    """Ask a run's controller to stop, or end the jobs that an interrupted one left."""
    paths = existing_run(run)
    lineages = [lineage for lineage in paths.lineages() if not _is_over(lineage)]
    if not lineages:
        stdout.print(f"nothing to cancel: {paths.root} is over", soft_wrap=True)
        return
    for lineage in lineages:
        lineage.cancel.touch()
    ask = cache(fate_of_job)  # once: a controller that lives now answers the request by itself
    deadline = time.monotonic() + _PATIENCE_S
    try:
        for lineage in lineages:
            while lineage.cancel.exists() and holder(lineage.root, ask) and time.monotonic() < deadline:
                time.sleep(0.2)
            if lineage.cancel.exists():
                with suppress(CancelledError):  # that is what was asked for
                    cancel_idle_lineage(paths, lineage.number, ConsoleObserver())
    finally:  # a controller that waits for the model's reply is not heard of before
        ask_to_end(paths)
    stdout.print(f"cancelled; {paths.resuming()} would go on", soft_wrap=True)


def _is_over(lineage: LineagePaths) -> bool:
    try:
        return replay(read_ledger(lineage.ledger)).finished is not None
    except LedgerError:  # its jobs can be ended all the same
        return False
