"""Naming a process so that it is never mistaken for another, and ending a whole family of them."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import time
from dataclasses import asdict, dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class ProcessIdentity:
    """A process id means something only together with its start time, its boot and its host."""

    pid: int
    start_ticks: int
    boot_id: str
    host: str

    @property
    def alive(self) -> bool:
        """Whether exactly this process runs now, on this host."""
        return identify(self.pid) == self


def identify(pid: int) -> ProcessIdentity | None:
    """The identity of a running process, or None when there is none (a zombie counts as none)."""
    try:
        # Fields after the command name, which may hold spaces and brackets of its own.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    if fields[0] == "Z":
        return None
    return ProcessIdentity(pid, int(fields[19]), boot_id, socket.gethostname())


def claim(path: Path) -> bool:
    """Write this process's identity to `path` unless somebody has: at most one caller ever gets True."""
    me = identify(os.getpid())
    if me is None:
        raise OSError("/proc does not show this process")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(asdict(me)))
    try:
        os.link(temporary, path)  # atomic, complete, and fails if the name is taken
    except FileExistsError:
        return False
    finally:
        temporary.unlink()
    return True


def read_claim(path: Path) -> ProcessIdentity | None:
    """Who claimed `path`, or None."""
    try:
        return ProcessIdentity(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def adopt_orphans() -> None:
    """Make this process the parent of any descendant whose own parent ends, so that none escapes."""
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_with_parent() -> None:
    """Have the kernel kill this process when its parent dies, so that a lost worker leaves no training."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


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
