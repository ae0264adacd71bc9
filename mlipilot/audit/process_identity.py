"""Who owns something: an identity that is never mistaken for another, and whether its bearer is still there.

What one process at a time may have (a lineage, an attempt, a submitter's work) names its owner by such an
identity. It is mine where that is `this_process()`; it may be taken from another whose `Fate` is "over".
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple


class Fate(NamedTuple):
    """What is known of an owner: `why` goes on from "it is said to be so because"."""

    state: Literal["alive", "over", "unknown"]
    why: str


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

    @property
    def is_of_this_boot(self) -> bool:
        """Whether this kernel ran it, in a container or not, since it was booted."""
        here = this_process()
        return (self.host, self.boot_id) == (here.host, here.boot_id)

    def fate(self, since_s: float, namespace: int | None = None) -> Fate:
        """Whether exactly this process is there still, as this host's kernel knows it.

        `since_s`: a time at which it was, in seconds of the epoch. `namespace`: the pid namespace in which
        `pid` means something; None: this process's own. "over" is certain, what cannot be seen is "unknown".
        """
        if not self.is_of_this_boot:
            # Another boot of this host, not another host of the same name, which was up at that time.
            if self.host == socket.gethostname() and since_s < booted_at_s():
                return Fate("over", "its host was booted since")
            return Fate("unknown", "it is of another host or container")
        if namespace not in (None, pid_namespace()):
            return Fate("unknown", "it is of another host or container")
        if self.alive:
            return Fate("alive", "its process runs")
        if _is_hidden(self.pid):
            return Fate("unknown", "it is of another user, whose processes are hidden here")
        return Fate("over", "its process is gone")

    @property
    def uid(self) -> int | None:
        """Whose process it is, if it runs here."""
        try:
            return Path(f"/proc/{self.pid}").stat().st_uid
        except OSError:
            return None


def identify(pid: int) -> ProcessIdentity | None:
    """The identity of a running process, or None when there is none (a zombie counts as none)."""
    try:
        fields = stat_fields(Path(f"/proc/{pid}/stat").read_text())
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    if fields[0] == "Z":
        return None
    return ProcessIdentity(pid, int(fields[19]), boot_id, socket.gethostname())


def stat_fields(text: str) -> list[str]:
    """The fields of a /proc/PID/stat after the command's name, which may hold spaces and brackets itself."""
    return text.rpartition(")")[2].split()


def _is_hidden(pid: int) -> bool:
    """Whether there is a process of that number of which /proc shows nothing to this user."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return not os.access(f"/proc/{pid}/stat", os.R_OK)
    except (OSError, OverflowError, TypeError):  # the last two of what somebody wrote in a claim's place
        return False
    return False


def this_process() -> ProcessIdentity:
    """The identity of this process. Raises OSError where /proc does not show it."""
    me = identify(os.getpid())
    if me is None:
        raise OSError("/proc does not show this process")
    return me


def pid_namespace() -> int:
    """The inode of this process's pid namespace; no other bears that number before all in it are gone."""
    return Path("/proc/self/ns/pid").stat().st_ino


def booted_at_s() -> float:
    """When this host was booted, in seconds of the epoch."""
    lines = Path("/proc/stat").read_text().splitlines()
    return float(next(line for line in lines if line.startswith("btime")).split()[1])
