"""Ending a whole family of processes, and what of this one others may see."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from pathlib import Path

from mlipilot.audit.identity import stat_fields

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None, use_errno=True)


def adopt_orphans() -> None:
    """Make this process the parent of any descendant whose own parent ends, so that none escapes."""
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_with_parent(number: int) -> None:
    """Have the kernel send this process a signal when its parent dies: a lost worker leaves no training."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def hide_from_same_user() -> None:
    """Keep `/proc/PID/environ` and the memory of this process from other processes of the same user.

    The controller's environment holds the pilot's key, and on local processes a candidate runs as the same
    user. Root is not kept out.
    """
    _LIBC.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def children(pid: int) -> list[int]:
    """The process ids of `pid`'s children."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                if int(stat_fields((entry / "stat").read_text())[1]) == pid:
                    found.append(int(entry.name))
    return found


def end_descendants(grace_s: float) -> None:
    """End every descendant of this process: SIGTERM, then SIGKILL after `grace_s`, until none is left.

    With `adopt_orphans` in force the loop converges: whoever loses its parent becomes our child.
    """
    deadline = time.monotonic() + grace_s
    asked: set[int] = set()
    while pids := children(os.getpid()):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                if os.waitpid(pid, os.WNOHANG)[0]:
                    continue
                if time.monotonic() > deadline:
                    os.kill(pid, signal.SIGKILL)
                elif pid not in asked:
                    asked.add(pid)
                    os.kill(pid, signal.SIGTERM)
        time.sleep(0.02)
