"""The starts of a Slurm job: requeued, it starts again under its number, and only the newest start counts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from mlipilot.audit.files import publish_new, write_atomic
from mlipilot.audit.manifest import is_finished
from mlipilot.campaign.paths import RunPaths
from mlipilot.jobs.checkpoints import clear_output
from mlipilot.jobs.order import read_order
from mlipilot.jobs.spool import Spool

CLAIM = "worker.json"


@dataclass(frozen=True)
class JobStart:
    """One start of a Slurm job."""

    job_id: str
    restart: int
    node: str
    name: str = field(default="", compare=False)
    """The job's in Slurm; empty where that is not known."""

    @classmethod
    def of_environment(cls, environment: Mapping[str, str]) -> JobStart | None:
        """The start whose batch script calls us; None outside Slurm."""
        job_id = environment.get("SLURM_JOB_ID")
        if job_id is None:
            return None
        restart = int(environment.get("SLURM_RESTART_COUNT", "0"))
        node, name = environment.get("SLURMD_NODENAME", ""), environment.get("SLURM_JOB_NAME", "")
        return cls(job_id, restart, node, name)

    def claim(self, attempt: Path) -> bool:
        """Take the attempt unless another job has, or a start of this job that is no older than this one.

        What an older start left of its work is removed, but for its checkpoint. An attempt that was asked of
        another job meanwhile is left to that.
        """
        if not self._is_asked_for(attempt):
            return False
        if publish_new(attempt / CLAIM, json.dumps(asdict(self)), staged_in=attempt.parent):
            return True
        theirs = _read_claim(attempt)
        if theirs is None or theirs.job_id != self.job_id or theirs.restart >= self.restart:
            return False
        if is_finished(attempt):  # the claim is part of what is sealed
            return False
        before = (attempt / CLAIM).read_bytes()
        write_atomic(attempt / CLAIM, json.dumps(asdict(self)), staged_in=attempt.parent)
        if is_finished(attempt):  # the older start sealed it between the two looks
            write_atomic(attempt / CLAIM, before, staged_in=attempt.parent)
            return False
        clear_output(attempt)
        for leftover in ("home", "stdout.log", "stderr.log"):
            shutil.rmtree(attempt / leftover, ignore_errors=True)
            (attempt / leftover).unlink(missing_ok=True)
        return True

    def why_not_to_seal(self, attempt: Path, *, cancelled: bool) -> str | None:
        """Why what this start did is not the attempt's end, or None.

        A node that Slurm gave up for lost may go on with a job that runs again elsewhere. And a job that was
        ended from outside, by nobody's wish here, may have been requeued: Slurm knows better than it.
        """
        if _read_claim(attempt) != self or not self._is_asked_for(attempt):
            return f"not sealed: {attempt} is not of this start any more"
        if cancelled and not _cancel_was_asked(attempt):
            return "ended from outside: scancel, a requeue, a preemption or the limit of the job in Slurm"
        return None

    def _is_asked_for(self, attempt: Path) -> bool:
        """Whether the attempt is this job's: when a training was lost, the evaluation that was fused with it
        is asked of the next training's job."""
        return not self.name or _name_of_job(attempt) == self.name


def _cancel_was_asked(attempt: Path) -> bool:
    name = _name_of_job(attempt)
    return name is not None and Spool(RunPaths(Path(read_order(attempt).run)).spool).is_cancelled(name)


def _name_of_job(attempt: Path) -> str | None:
    try:
        return str(json.loads((attempt / "slurm.json").read_text(encoding="utf-8"))["name"])
    except (OSError, ValueError, KeyError):
        return None


def _read_claim(attempt: Path) -> JobStart | None:
    try:
        return JobStart(**json.loads((attempt / CLAIM).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
