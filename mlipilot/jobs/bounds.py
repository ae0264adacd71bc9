"""What a job may take of a machine besides its time: processes, memory, room for what it leaves.

Trusted code looks again and again at all processes of a job and at its output; what is taken and given back
between two looks is not seen, nor is a file that has no name any more. `sbatch/job.sh` has the same bounds
for jobs in containers, whether or not the site's cgroups bound memory, too.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from mlipilot.jobs.processes import Taken

MOST_PROCESSES = 512
MOST_FILES = 200_000
MOST_OUTPUT_MIB = 32 * 1024
"""Checkpoints and logs included; of these, what is kept has bounds of its own (`jobs/intake.py`)."""
PROCESSES_OF_A_USER = 8192
"""On top of those that the job's user has when it begins: what the kernel refuses between two looks."""
_MEASURE_EVERY_S = 5.0


class Bounds:
    """The bounds of one job, whose output lies in `attempt`; an order of an older run has no `memory_mib`."""

    def __init__(self, attempt: Path, memory_mib: int | None) -> None:
        self._output, self._memory_mib = attempt / "output", memory_mib
        self._measured_at = time.monotonic()

    def excess(self, taken: Taken) -> str | None:
        """What of them the job has gone beyond, in words; else None."""
        if (count := len(taken.pids)) > MOST_PROCESSES:
            return f"it had {count} processes and may have {MOST_PROCESSES}"
        most_mib = self._memory_mib
        if most_mib is not None and (mib := taken.memory_mib(most_mib)) > most_mib:
            return f"it took {mib:.0f} MiB of memory and may take {most_mib}: see jobs.resources.memory_mib"
        if time.monotonic() - self._measured_at < _MEASURE_EVERY_S:
            return None
        self._measured_at = time.monotonic()
        files, mib = _du(self._output, "--inodes"), _du(self._output, "--block-size=1M")
        if files > MOST_FILES:
            return f"it left {files} files and may leave {MOST_FILES}"
        return f"it left {mib} MiB and may leave {MOST_OUTPUT_MIB}" if mib > MOST_OUTPUT_MIB else None


def _du(folder: Path, unit: str) -> int:
    """The size of a tree, which no depth or name of it keeps du(1) from; 0 where it cannot be had in time."""
    command = ["du", "-sx", unit, "--", str(folder)]
    try:
        said = subprocess.run(command, capture_output=True, timeout=60, check=False).stdout.split(b"\t")[0]
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return int(said) if said.isdigit() else 0
