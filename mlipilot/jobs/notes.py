"""What a start of an attempt notes, so that somebody else can seal it: that it began, how its command ended.

Both files lie beside the output that a command in a container can write to, not in it.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from mlipilot.audit.files import write_atomic
from mlipilot.jobs.job_files import Isolation, JobOrder
from mlipilot.jobs.machine import Machine, this_machine

BEGUN, ENDED = "begun.json", "ended.json"
_PAUSES_S = (1, 2, 4, 8, 16, 32, 60, 60, 60)  # four minutes: a disk may be full for a moment


class _OfStart(BaseModel, extra="forbid", frozen=True):
    """The start of a Slurm job that a note is of; all empty for a worker on this machine."""

    job_id: str | None = None
    restart: int = 0
    node: str = ""

    @property
    def start(self) -> tuple[str | None, int, str]:
        """Which start it is, to compare."""
        return self.job_id, self.restart, self.node


class Begun(_OfStart):
    """That an attempt's command is about to run, and where: what nobody can find out later."""

    host: str
    machine: Machine
    isolation: Isolation

    @classmethod
    def here(cls, order: JobOrder, isolation: Isolation, **start: Any) -> Begun:
        """On this host, now, by `start`: what a start of a Slurm job notes of itself, or nothing."""
        machine = this_machine(uses_gpu=order.uses_gpu)
        return cls(host=socket.gethostname(), machine=machine, isolation=isolation, **start)

    def note(self, attempt: Path) -> None:
        """Publish it. Raises OSError."""
        write_atomic(attempt / BEGUN, self.model_dump_json() + "\n")


class Ended(_OfStart):
    """That an attempt's command has ended, and how. `sbatch/job.sh` writes it for Slurm's jobs."""

    exit_status: int = Field(description="negative: ended by that signal")
    cancelled: bool = Field(description="it was asked to end before it had")
    timed_out: bool = Field(default=False, description="it was ended at its limit")
    excess: str | None = Field(default=None, description="what it took too much of, and was ended for")
    wall_s: float
    cpu_s: float | None = Field(description="None: could not be read")
    peak_memory_mib: float | None = None

    def note(self, attempt: Path) -> bool:
        """Publish it, with patience; False when that cannot be had, which is no end of the attempt."""
        for pause_s in (*_PAUSES_S, None):
            try:
                write_atomic(attempt / ENDED, self.model_dump_json() + "\n")
                return True
            except OSError:
                if pause_s is not None:
                    time.sleep(pause_s)
        return False


@dataclass(frozen=True)
class Notes:
    """Both notes of the start that ran an attempt's command to its end."""

    begun: Begun
    ended: Ended


def read_notes(attempt: Path) -> Notes | None:
    """The notes of an attempt whose command has ended; None while they are not both there, and of one start.

    A node that was given up for lost may note the end of what it ran while another runs it again.
    """
    begun = read_begun(attempt)
    try:
        ended = Ended.model_validate_json((attempt / ENDED).read_bytes())
    except (OSError, ValueError):
        return None
    return Notes(begun, ended) if begun is not None and begun.start == ended.start else None


def read_begun(attempt: Path) -> Begun | None:
    """The note of the start that ran an attempt's command last, or None."""
    try:
        return Begun.model_validate_json((attempt / BEGUN).read_bytes())
    except (OSError, ValueError):
        return None
