"""`mlipilot cancel`: end a run's jobs and its controller, in order."""

from __future__ import annotations

import time
from functools import cache

from mlipilot.audit.lock import AskSlurm, holder
from mlipilot.audit.rights import check_may_write, written_by_a_controller
from mlipilot.cli.console import ConsoleObserver, say
from mlipilot.cli.types import RunDirectory, existing_run
from mlipilot.controller.carrying import cancel_idle_lineage
from mlipilot.controller.loop import CancelledError
from mlipilot.controller.serving import phase_of
from mlipilot.errors import PausedError
from mlipilot.jobs.ending import Ending, open_requests
from mlipilot.jobs.endpoint_job import names_of_jobs
from mlipilot.jobs.slurm_job import fate_of_job
from mlipilot.jobs.spool import Spool
from mlipilot.paths import LineagePaths, RunPaths

_PATIENCE_S = 150.0
_TOLD_EVERY_S = 5.0


def cancel(run: RunDirectory) -> None:
    """Ask a run's controller to stop, or end the jobs that an interrupted one left."""
    paths = existing_run(run)
    lineages = [lineage for lineage in paths.lineages() if phase_of(lineage) != "finished"]
    if not lineages:
        say(f"nothing to cancel: {paths.root} is over")
        return
    for lineage in lineages:
        check_may_write(*written_by_a_controller(paths, lineage))
    for lineage in lineages:
        lineage.cancel.touch()
    observer, spool = ConsoleObserver(), Spool(paths.spool)
    if paths.spool.exists():  # its jobs end now; that they did is written down by whoever carries the lineage
        names = [name for lineage in lineages for name in open_requests(spool, lineage.number)]
        Ending(spool, names, observer.event).look()
    ask = cache(fate_of_job)  # once: a controller that lives now answers the request by itself
    deadline, goes_on = time.monotonic() + _PATIENCE_S, list[str]()
    try:
        for lineage in lineages:
            _wait_for_controller(lineage, ask, deadline, observer)
            if lineage.cancel.exists():
                goes_on += _cancel_idle(paths, lineage, observer)
    finally:  # a controller that waits for the model's reply is not heard of before
        Ending(spool, names_of_jobs(paths), observer.event).look()
    if goes_on:
        raise PausedError("cancelled, but " + "\n".join(goes_on))
    say(f"cancelled; {paths.resuming()} would go on")


def _wait_for_controller(
    lineage: LineagePaths, ask: AskSlurm, deadline: float, observer: ConsoleObserver
) -> None:
    """Until it has heeded the request, or is over, or is not waited for any longer."""
    begun = time.monotonic()
    tell_at = begun
    while lineage.cancel.exists() and time.monotonic() < deadline:
        words = holder(lineage.root, ask)
        if words is None:
            return
        if (now := time.monotonic()) >= tell_at:
            tell_at = now + _TOLD_EVERY_S
            waited = f"({now - begun:.0f} s)"
            observer.event(f"waiting for the controller of {lineage.root.name}, {words} {waited}")
        time.sleep(0.2)


def _cancel_idle(paths: RunPaths, lineage: LineagePaths, observer: ConsoleObserver) -> list[str]:
    """End the jobs of a lineage that nobody carries; returns what may go on all the same, in words."""
    try:
        cancel_idle_lineage(paths, lineage.number, observer)
    except CancelledError as cancelled:  # that is what was asked for
        return [cancelled.goes_on] if cancelled.goes_on else []
    return []
