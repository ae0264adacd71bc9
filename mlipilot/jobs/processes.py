"""Ending a whole family of processes, and what of this one others may see."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from mlipilot.audit.process_identity import stat_fields

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_PARENT, _OWN, _WAITED_FOR, _STARTED = 0, slice(10, 12), slice(12, 14), 18  # places in `_processes`
_RESIDENT, _SHARED = 1, 2  # places in /proc/PID/statm
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


def runs_with(pid: int, *words: str) -> bool:
    """Whether a process has all of `words` on its command line; False where that cannot be read."""
    try:
        return {os.fsencode(word) for word in words} <= {
            *Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        }
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """The process ids of `pid`'s children."""
    return [child for child, fields in _processes().items() if fields[_PARENT] == pid]


@dataclass(frozen=True)
class Taken:
    """What the descendants of a process have taken of the machine, or hold."""

    cpu_s: float = 0.0
    pids: frozenset[int] = frozenset()

    def memory_mib(self, beyond_mib: float) -> float:
        """What they hold now, without files and shared memory, which tmpfs bounds.

        Where it seems to be `beyond_mib`, pages that a process shares with what it was forked from are
        counted once, which takes the kernel some time.
        """
        mib = sum(map(_resident_mib, self.pids))
        return mib if mib <= beyond_mib else sum(map(_shared_out_mib, self.pids))


class Meter:
    """What this process's descendants take, those that nobody waits for among them.

    The kernel adds up what was waited for. Of the others counts what was seen of them: who would hide work
    has to spread it over processes that end between two looks.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[int, int], int] = {}
        self.last = Taken()

    def look(self) -> Taken:
        """Until now, and now."""
        processes, families = _processes(), {os.getpid()}
        for _ in processes:  # until nobody is added: a child may have a lower number than its parent
            grown = families | {pid for pid, fields in processes.items() if fields[_PARENT] in families}
            if grown == families:
                break
            families = grown
        ticks = sum(processes[os.getpid()][_WAITED_FOR])
        for pid in families - {os.getpid()}:
            own = sum(processes[pid][_OWN])
            ticks += own + sum(processes[pid][_WAITED_FOR])
            self._seen[pid, processes[pid][_STARTED]] = own
        spent_s = max(ticks, sum(self._seen.values())) / os.sysconf("SC_CLK_TCK")
        self.last = Taken(spent_s, frozenset(families - {os.getpid()}))
        return self.last


def _resident_mib(pid: int) -> float:
    try:
        pages = [int(word) for word in Path(f"/proc/{pid}/statm").read_text().split()]
    except (OSError, ValueError):  # it has ended
        return 0.0
    return (pages[_RESIDENT] - pages[_SHARED]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def _shared_out_mib(pid: int) -> float:
    """Its share of the pages that it has with others; all of them where it can hide that."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss_Anon:"))
    except (OSError, ValueError, StopIteration):
        return _resident_mib(pid)


def _processes() -> dict[int, list[int]]:
    """Of every process by its id what follows its state in /proc/PID/stat (proc_pid_stat(5))."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = stat_fields((entry / "stat").read_text(errors="replace"))
                found[int(entry.name)] = [int(field) for field in fields[1:]]
    return found


def tasks_of_this_user() -> int:
    """How many processes and threads run as this user, in the kernel's words tasks."""
    count = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if entry.stat().st_uid == os.getuid():
                    count += (entry / "task").stat().st_nlink - 2
    return count


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
