"""Naming a process so that it is never mistaken for another."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path


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
    def uid(self) -> int | None:
        """Whose process it is, if it runs here."""
        try:
            return Path(f"/proc/{self.pid}").stat().st_uid
        except OSError:
            return None


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
