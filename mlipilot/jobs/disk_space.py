"""Whether a result could be kept at all: looked at before a job begins."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryFile

_MIB = 1024**2
_PROBE_MIB = 4
NOT_STORABLE = "not storable"
"""How the line begins that a job's log ends with when it did not begin for that."""
NO_ROOM = 5
"""The exit status that goes with it."""


def say_not_storable(problem: str) -> int:
    """The log's last word of a job that does not begin; its exit status."""
    sys.stdout.write(f"{NOT_STORABLE}: {problem}\n")
    sys.stdout.flush()
    return NO_ROOM


def why_not_storable(attempt: Path, least_mib: int) -> str | None:
    """Why a job had better not begin, or None: rights, room, or a quota, which shows only when one writes.

    What is written has no name where the file system knows such files, and lies beside the attempt, since
    another may be sealing that.
    """
    folder = attempt.parent
    if not os.access(attempt, os.W_OK | os.X_OK):
        return f"{attempt} may not be written to by user {os.geteuid()}: mend its rights, then resume"
    try:
        with TemporaryFile(dir=folder) as probe:
            found = os.fstatvfs(probe.fileno())
            free_mib = found.f_bavail * found.f_frsize // _MIB
            if free_mib < least_mib:
                return (
                    f"{free_mib} MiB are free for {folder} and at least {least_mib} MiB are wanted: "
                    "free some or lower jobs.min_free_mib, then resume"
                )
            probe.write(os.urandom(_PROBE_MIB * _MIB))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        return f"{folder}: {error.strerror} (a file of {_PROBE_MIB} MiB was tried): mend that, then resume"
    return None
