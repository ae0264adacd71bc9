"""When a controller that only waits for jobs ends, so that its successor waits for them in its place.

A Slurm job that waits for others by dependency holds no core. `sbatch/hand_back.sh` sees to the rest: it
gives the successor that dependency, or has a controller go on where Slurm does not take it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping

from mlipilot.audit.files import write_atomic
from mlipilot.errors import MlipilotError
from mlipilot.jobs.backend import Standing
from mlipilot.jobs.obstacles import obstacle
from mlipilot.jobs.slurm_backend import is_over
from mlipilot.jobs.spool import QueueRow, Spool
from mlipilot.jobs.successors import awaited_file, successor_of
from mlipilot.paths import RunPaths


class HandedBackError(MlipilotError):
    """Nothing is due until one of the jobs ends: the controller ends, the lineage does not."""

    exit_status = 79  # beyond those of sysexits.h; for sbatch/campaign.sh


class HandBack:
    """What a lineage's controller weighs while it waits. Only one of `sbatch/campaign.sh` hands back."""

    def __init__(self, run: RunPaths, lineage: int, environment: Mapping[str, str] = os.environ) -> None:
        self._spool, self._lineage = Spool(run.spool), lineage
        self._job = environment.get("MLIPILOT_CONTROLLER_JOB", "")
        self._after_s = int(environment.get("MLIPILOT_HAND_BACK_S") or 0) if self._job else 0
        self.wait_begins()

    def wait_begins(self) -> None:
        """From now on nothing but jobs is waited for."""
        self._since = time.monotonic()

    def consider(self, jobs: Callable[[], Iterable[Standing]]) -> None:
        """Write down the jobs that are waited for, and raise HandedBackError, if it is time and may be."""
        if not self._after_s or time.monotonic() - self._since < self._after_s:
            return
        awaited = list(jobs())
        queue = self._spool.queue()
        rows: Mapping[str, QueueRow] = queue.rows if queue.ok else {}
        if not awaited or not all(_goes_on_alone(job, rows) for job in awaited):
            return
        if successor_of(self._spool.root, self._lineage, self._job) is None or self._leaves_work(rows):
            return
        numbers = {str(job.job_id): job.job_name for job in awaited}
        file = awaited_file(self._spool.root, self._lineage)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(file, "".join(f"{number} {name}\n" for number, name in numbers.items()))
        except OSError:  # a core is no reason to stop for
            return
        listed = ", ".join(numbers)
        raise HandedBackError(
            f"nothing but job{'s' if len(numbers) > 1 else ''} {listed} has been waited for in "
            f"{self._after_s / 60:.0f} min: the core is handed back"
        )

    def _leaves_work(self, rows: Mapping[str, QueueRow]) -> bool:
        """Whether the submitter beside this controller has something to do for it, or for the run's model."""
        mine = self._spool.requests_of(self._lineage)
        to_end = [name for name in mine if self._spool.is_cancelled(name) and name in rows]
        return any(not is_over(rows[name].state) for name in to_end) or any(
            self._spool.receipt(name) is None for name in (*mine, *self._spool.requests_of_the_run())
        )


def _goes_on_alone(job: Standing, rows: Mapping[str, QueueRow]) -> bool:
    """Whether Slurm has the job, which runs or will without anybody's help."""
    row = rows.get(job.job_name or "")
    if row is None or row.job_id != job.job_id:
        return False
    if row.state == "PENDING":
        return obstacle(row.state, row.reason).kind == "wait"
    return row.state == "RUNNING"
