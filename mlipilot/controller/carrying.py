"""Carrying a lineage: who holds its lock drives the loop to an end, a pause or a cancel, and lets go."""

from __future__ import annotations

import errno
from contextlib import ExitStack

from mlipilot.audit.lock import controller_lock
from mlipilot.audit.rights import check_may_write, written_by_a_controller
from mlipilot.controller.loop import CancelledError, Controller
from mlipilot.controller.observer import Observer
from mlipilot.controller.serving import end_if_last, endpoint_job
from mlipilot.controller.state import State
from mlipilot.errors import PausedError
from mlipilot.jobs.processes import hide_from_same_user
from mlipilot.jobs.slurm_job import fate_of_job, this_job
from mlipilot.paths import RunPaths

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def run_lineage(run: RunPaths, number: int, observer: Observer, *, unattended: bool = False) -> State:
    """Carry lineage `number` of a prepared run to its end and return its last state.

    `unattended`: nobody asked for this start, so a lineage that somebody cancelled stays cancelled.
    Raises PausedError (the reason is in the ledger; call again to go on), CancelledError, InputError when
    another controller holds the lineage, TakenOverError when another has taken it over meanwhile,
    HandedBackError where its successor is to wait for the jobs.
    KeyboardInterrupt leaves running jobs to their workers.
    """
    hide_from_same_user()
    lineage = run.lineage(number)
    check_may_write(*written_by_a_controller(run, lineage))
    try:
        lineage.root.mkdir(parents=True, exist_ok=True)
        with controller_lock(lineage.root, this_job(), fate_of_job) as hold, ExitStack() as resources:
            job = endpoint_job(run, number, observer)
            while True:
                controller = Controller(run, lineage, observer, resources, hold, job)
                try:
                    state = controller.work(number, unattended=unattended)
                except (PausedError, OSError) as error:
                    paused = error if isinstance(error, PausedError) else _paused(error)
                    if job is not None and job.may_be_replaced():
                        observer.event(f"{paused}\nanother job is asked for")
                        continue
                    controller.note_pause(paused)
                    end_if_last(job, run, number)
                    raise paused from error
                except CancelledError:
                    end_if_last(job, run, number)
                    raise
                end_if_last(job, run, number)
                return state
    except OSError as error:
        raise _paused(error) from error


def cancel_idle_lineage(run: RunPaths, number: int, observer: Observer) -> None:
    """End the jobs that an interrupted controller left, and say so in the ledger. Raises CancelledError."""
    lineage = run.lineage(number)
    with controller_lock(lineage.root, this_job(), fate_of_job) as hold, ExitStack() as resources:
        Controller(run, lineage, observer, resources, hold).cancel_if_asked()


def _paused(error: OSError) -> PausedError:
    """A full disk is a pause; any other failure of the operating system is shown as it is."""
    if error.errno not in _NO_SPACE:
        raise error
    where = error.filename or "the run"
    return PausedError(f"no space is left for {where}: free some, then resume", mends_by_itself=True)
