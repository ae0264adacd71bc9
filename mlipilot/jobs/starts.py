"""The starts of a Slurm job: requeued, it starts again under its number, and only the newest start counts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from mlipilot.audit.files import publish_new, write_json
from mlipilot.audit.manifest import is_finished
from mlipilot.campaign.paths import RunPaths
from mlipilot.jobs.order import read_order
from mlipilot.jobs.spool import Spool

CLAIM = "worker.json"


@dataclass(frozen=True)
class JobStart:
    """One start of a Slurm job."""

    job_id: str
    restart: int
    node: str

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> JobStart | None:
        """The start whose batch script calls us; None outside Slurm."""
        job_id = environment.get("SLURM_JOB_ID")
        if job_id is None:
            return None
        restart = int(environment.get("SLURM_RESTART_COUNT", "0"))
        return cls(job_id, restart, environment.get("SLURMD_NODENAME", ""))

    def claim(self, attempt: Path) -> bool:
        """Take the attempt unless another job has, or a start of this job that is no older than this one.

        What an older start left of its work is removed.
        """
        if publish_new(attempt / CLAIM, json.dumps(asdict(self)), staged_in=attempt.parent):
            return True
        theirs = _read_claim(attempt)
        if theirs is None or theirs.job_id != self.job_id or theirs.restart >= self.restart:
            return False
        if is_finished(attempt):  # the claim is part of what is sealed
            return False
        write_json(attempt / CLAIM, asdict(self))
        for leftover in ("output", "home", "stdout.log", "stderr.log"):
            shutil.rmtree(attempt / leftover, ignore_errors=True)
            (attempt / leftover).unlink(missing_ok=True)
        return True

    def why_not_to_seal(self, attempt: Path, *, cancelled: bool) -> str | None:
        """Why what this start did is not the attempt's end, or None.

        A node that Slurm gave up for lost may go on with a job that runs again elsewhere. And a job that was
        ended from outside, by nobody's wish here, may have been requeued: Slurm knows better than it.
        """
        if _read_claim(attempt) != self:
            return f"not sealed: {attempt} is not of this start any more"
        if cancelled and not _cancel_was_asked(attempt):
            return "ended from outside: scancel, a requeue, a preemption or the limit of the job in Slurm"
        return None


def _cancel_was_asked(attempt: Path) -> bool:
    name = json.loads((attempt / "slurm.json").read_text(encoding="utf-8"))["name"]
    return Spool(RunPaths(Path(read_order(attempt).run)).spool).is_cancelled(str(name))


def _read_claim(attempt: Path) -> JobStart | None:
    try:
        return JobStart(**json.loads((attempt / CLAIM).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
