"""One controller a lineage: an advisory lock that the kernel drops when its holder dies.

The lock is `flock` by way of filelock; who holds it stands beside it for people to read. An `flock` does
not reach across hosts on every parallel filesystem.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from mlipilot.audit.files import write_json
from mlipilot.errors import InputError


@contextmanager
def controller_lock(lineage: Path) -> Iterator[None]:
    """Hold `lineage` for as long as the block runs. Raises InputError naming the holder if it is taken."""
    lock, owner = lineage / "controller.lock", lineage / "controller.json"
    file_lock = FileLock(lock)
    try:
        file_lock.acquire(timeout=0)
    except Timeout:
        raise InputError(
            f"another controller holds this run ({_describe(owner)})",
            file=lineage,
            mend="wait for it, or end it with `mlipilot cancel`; `mlipilot status` shows what it does",
        ) from None
    try:
        write_json(
            owner,
            {
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "since": datetime.now(UTC).isoformat(timespec="seconds"),
            },
        )
        yield
    finally:
        owner.unlink(missing_ok=True)
        file_lock.release()


def holder(lineage: Path) -> str | None:
    """Who holds `lineage` now, in words, or None."""
    lock = lineage / "controller.lock"
    if not lock.exists():
        return None
    probe = FileLock(lock)
    try:
        probe.acquire(timeout=0)
    except Timeout:
        return _describe(lineage / "controller.json")
    probe.release()
    return None


def _describe(owner: Path) -> str:
    try:
        entry = json.loads(owner.read_text(encoding="utf-8"))
        return f"process {entry['pid']} on {entry['host']} since {entry['since']}"
    except (OSError, ValueError, KeyError):
        return "its owner file is not written yet"
