"""`mlipilot cancel`: end a run's jobs and its controller, in order."""

from __future__ import annotations

import time
from contextlib import suppress

from mlipilot.audit.lock import holder
from mlipilot.cli.console import ConsoleObserver, stdout
from mlipilot.cli.types import RunDirectory, existing_run, only_lineage
from mlipilot.controller.loop import CancelledError, cancel_idle_lineage

_PATIENCE_S = 60.0


def cancel(run: RunDirectory) -> None:
    """Ask a run's controller to stop, or end the jobs that an interrupted one left."""
    paths = existing_run(run)
    lineage = only_lineage(paths)
    lineage.cancel.touch()
    deadline = time.monotonic() + _PATIENCE_S
    while lineage.cancel.exists() and holder(lineage.root) and time.monotonic() < deadline:
        time.sleep(0.2)
    if lineage.cancel.exists():
        with suppress(CancelledError):  # that is what was asked for
            cancel_idle_lineage(paths, 0, ConsoleObserver())
    stdout.print(f"cancelled; `mlipilot resume {paths.root}` would go on", soft_wrap=True)
