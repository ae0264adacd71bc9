"""Waiting for what another process does, for as long as a full machine may take."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def wait_until(what: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        time.sleep(0.05)


def wait_for_text(path: Path, seconds: float = 60.0) -> str:
    """What another process writes there; a file is there before anything stands in it."""
    wait_until(lambda: path.is_file() and path.stat().st_size, seconds)
    return path.read_text()
