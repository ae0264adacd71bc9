"""Claiming an attempt for one process, and ending a whole family of processes."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import time
from dataclasses import asdict
from pathlib import Path

from mlipilot.audit.files import publish_new
from mlipilot.audit.identity import ProcessIdentity, this_process

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None, use_errno=True)
_NOBODY = {"withdrawn": True}


def claim(path: Path) -> bool:
    """Write this process's identity to `path` unless somebody has: at most one caller ever gets True.

    Whoever comes second leaves no trace in `path`'s folder, which the first may be sealing.
    """
    return publish_new(path, json.dumps(asdict(this_process())), staged_in=path.parent.parent)


def withdraw(path: Path) -> bool:
    """Write nobody's claim to `path`, so that no process ever gets it; False when one has."""
    return publish_new(path, json.dumps(_NOBODY), staged_in=path.parent.parent)


def is_withdrawn(path: Path) -> bool:
    """Whether `path` was kept from all processes."""
    try:
        return bool(json.loads(path.read_text()) == _NOBODY)
    except PermissionError:
        raise  # a claim that may not be read is one all the same
    except (OSError, ValueError):
        return False


def read_claim(path: Path) -> ProcessIdentity | None:
    """Who claimed `path`, or None."""
    try:
        return ProcessIdentity(**json.loads(path.read_text()))
    except PermissionError:
        raise
    except (OSError, ValueError, TypeError):
        return None


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
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
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
