"""The job that takes over a lineage, and what it waits for: `sbatch/successor.sh` and `hand_back.sh`."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

from mlipilot.jobs.obstacles import obstacle
from mlipilot.jobs.slurm_job import queue_of
from mlipilot.jobs.spool import read_fields
from mlipilot.untrusted import one_line

_ASKED_EVERY_S = 60
_ROW = re.compile(r"([0-9]+)\|([A-Z_]+)[^|]*\|(.*)")


@dataclass(frozen=True)
class Waiting:
    """A lineage that nobody carries while its jobs run: job `successor` goes on when one of `awaited` ends.

    `due`: one has ended, and it starts when Slurm lets it. `lost`: somebody ended it, so that nobody goes on.
    """

    successor: str
    awaited: list[str]
    fate: Literal["waits", "due", "lost"] = "waits"
    """By Slurm's word where that can be had."""
    held: dict[str, str] = field(default_factory=dict)
    """By number the jobs that do not run unless a person does something: what."""


def awaited_file(spool: Path, lineage: int) -> Path:
    """Where a controller that hands its core back leaves the jobs that its successor is to wait for."""
    return spool / "waiting" / f"lineage-{lineage}"


def successor_of(spool: Path, lineage: int, job: str) -> str | None:
    """The number of the job that takes over from controller `job`, once Slurm has it."""
    return (read_fields(spool / "successors" / f"lineage-{lineage}.{job}") or {}).get("job_id")


def read_waiting(spool: Path, lineage: int) -> Waiting | None:
    """Who goes on if the last controller handed its core back. Asks Slurm where that can be done."""
    records = sorted(
        (path.stat().st_mtime_ns, path) for path in (spool / "successors").glob(f"lineage-{lineage}.*")
    )
    said = (records and read_fields(records[-1][1])) or {}
    awaited = re.findall(r"[0-9]+", said.get("awaits", ""))
    if not awaited or not re.fullmatch(r"[0-9]+", said.get("job_id", "")):
        return None
    successor = said["job_id"]
    found = _asked((successor, *awaited), int(time.monotonic()) // _ASKED_EVERY_S)
    if found is None:
        return Waiting(successor, awaited)
    mends = {job: obstacle(*found[job]) for job in awaited if job in found}
    held = {job: met.mend.replace("JOB", job) for job, met in mends.items() if met.kind != "wait"}
    if successor not in found:
        return Waiting(successor, awaited, "lost", held)
    is_due = found[successor][0] != "PENDING" or not all(job in found for job in awaited)
    return Waiting(successor, awaited, "due" if is_due else "waits", held)


@lru_cache(maxsize=64)
def _asked(jobs: tuple[str, ...], _minute: int) -> dict[str, tuple[str, str]] | None:
    """State and reason of those that Slurm has not done with; None where it cannot be asked."""
    answer = queue_of(jobs, "%F|%T|%r")
    if not answer.is_answer:
        return None
    rows = [_ROW.fullmatch(line) for line in answer.stdout.splitlines()]
    return {row[1]: (row[2], one_line(row[3], 100)) for row in rows if row}
