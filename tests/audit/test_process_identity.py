"""Whether the owner of something is still there: over only where that is certain."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from mlipilot.audit import process_identity
from mlipilot.audit.process_identity import (
    Fate,
    ProcessIdentity,
    booted_at_s,
    identify,
    pid_namespace,
    this_process,
)

ELSEWHERE = Fate("unknown", "it is of another host or container")
REBOOTED = Fate("over", "its host was booted since")
GONE = Fate("over", "its process is gone")


@pytest.fixture
def other() -> Iterator[ProcessIdentity]:
    """A process that sleeps."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        found = identify(process.pid)
        assert found is not None
        yield found
    finally:
        process.kill()
        process.wait()


def _ended() -> ProcessIdentity:
    process = subprocess.Popen(["sleep", "60"])
    found = identify(process.pid)
    process.kill()
    process.wait()
    assert found is not None
    return found


def test_a_process_is_itself_and_no_other(other: ProcessIdentity) -> None:
    me = this_process()
    assert me == identify(os.getpid()) and me != other
    for who in (me, other):
        assert who.alive and who.is_of_this_boot
        for namespace in (None, pid_namespace()):
            assert who.fate(time.time(), namespace) == Fate("alive", "its process runs")


def test_what_has_ended_is_over_even_before_its_parent_knows_and_where_its_number_is_used_again() -> None:
    process = subprocess.Popen(["sleep", "60"])
    found = identify(process.pid)
    assert found is not None
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie now
    assert found.fate(time.time()) == GONE
    process.wait()
    assert found.fate(time.time()) == GONE
    assert replace(this_process(), start_ticks=1).fate(time.time()) == GONE


@pytest.mark.parametrize(
    ("changes", "before_boot_s", "fate"),
    [
        ({"host": "node7"}, 3600.0, ELSEWHERE),
        ({"host": "node7", "boot_id": "another"}, 3600.0, ELSEWHERE),
        ({"boot_id": "another"}, 3600.0, REBOOTED),
        # It was there when this host was up already: so it is of another host of the same name.
        ({"boot_id": "another"}, -1.0, ELSEWHERE),
    ],
)
def test_of_other_hosts_nothing_is_known_and_a_boot_ends_all(
    changes: dict[str, Any], before_boot_s: float, fate: Fate
) -> None:
    for who in (replace(this_process(), **changes), replace(_ended(), **changes)):
        assert not who.is_of_this_boot and not who.alive
        assert who.fate(booted_at_s() - before_boot_s) == fate


def test_a_number_means_nothing_in_another_pid_namespace() -> None:
    for who in (this_process(), _ended()):
        assert who.is_of_this_boot
        assert who.fate(time.time(), pid_namespace() + 1) == ELSEWHERE


def test_a_boot_ends_what_ran_in_a_container_too() -> None:
    left = replace(this_process(), boot_id="another")
    assert left.fate(booted_at_s() - 60, pid_namespace() + 1) == REBOOTED


def test_what_the_kernel_hides_is_not_taken_for_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with /proc mounted with hidepid: there is a process of that number, and nothing to be seen of it."""

    def refused(_pid: int, number: int) -> None:
        assert number == 0
        raise PermissionError

    gone = _ended()
    monkeypatch.setattr(os, "kill", refused)
    assert gone.fate(time.time()) == Fate("unknown", "it is of another user, whose processes are hidden here")
    # Where it can be seen, it is another one, with the same number.
    assert replace(this_process(), start_ticks=1).fate(time.time()) == GONE


def test_a_name_with_blanks_and_brackets_hides_no_field() -> None:
    assert process_identity.stat_fields("12 (a) R (b) 1 S 7 9")[:3] == ["1", "S", "7"]
    assert process_identity.stat_fields("12 (a) R) S 7 9") == ["S", "7", "9"]
