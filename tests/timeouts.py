"""No test waits for ever: pytest-timeout ends it, and what it started in that phase is ended with it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

LONG_S = {"slow": 1800, "cluster": 1800, "sweep": 7200}
"""Of a test with one of these marks, fixtures included; that of the others is in pyproject.toml."""
_CURRENT = "PYTEST_CURRENT_TEST"  # pytest sets it for each phase of a test, and processes inherit it


def give_long_ones_time(item: pytest.Item) -> None:
    """A limit of its own for a test with a mark of `LONG_S`, unless it has one."""
    marked = [seconds for name, seconds in LONG_S.items() if item.get_closest_marker(name)]
    if marked and not item.get_closest_marker("timeout"):
        item.add_marker(pytest.mark.timeout(max(marked)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    call: pytest.CallInfo[None],
) -> Iterator[None]:
    """After a timeout, before fixtures are torn down: what they have started is theirs to end."""
    report = yield
    if call.excinfo is not None and "from pytest-timeout" in str(call.excinfo.value):
        _end_all_of(os.environ.get(_CURRENT, ""))
    return report


def _end_all_of(phase: str) -> None:
    """Kill every other process that began in a phase of a test, however far from here it has got."""
    marked = f"\0{_CURRENT}={phase}\0".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it is gone, or another user's
            if int(folder.name) != os.getpid() and marked in b"\0" + (folder / "environ").read_bytes():
                os.kill(int(folder.name), signal.SIGKILL)
