"""What stands in the way of a result, found before a job begins."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlipilot.jobs.disk_space import why_not_storable


@pytest.fixture
def attempt(tmp_path: Path) -> Path:
    directory = tmp_path / "train" / "attempt-1"
    directory.mkdir(parents=True)
    return directory


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MiB."""
    point = tmp_path / "small"
    point.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "none", point], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("only root may mount")
    yield point
    subprocess.run(["umount", point], check=True)


def test_room_and_rights_are_no_reason_and_leave_no_trace(attempt: Path) -> None:
    assert why_not_storable(attempt, 1) is None
    assert list(attempt.iterdir()) == [] and list(attempt.parent.iterdir()) == [attempt]


def test_too_little_room_is_said_with_both_numbers(attempt: Path) -> None:
    said = why_not_storable(attempt, 10**9)
    assert said is not None and "at least 1000000000 MiB are wanted: free some" in said


def test_a_disk_without_room_for_the_probe_is_said(small_disk: Path) -> None:
    attempt = small_disk / "attempt-1"
    attempt.mkdir()
    assert why_not_storable(attempt, 0) is None
    (small_disk / "full").write_bytes(bytes(4 * 1024**2))
    assert "No space left on device" in str(why_not_storable(attempt, 0))
    assert "2 MiB are free" in str(why_not_storable(attempt, 64))


def test_a_bound_that_shows_only_in_writing_is_found(attempt: Path) -> None:
    """A quota, say; here it is the largest file that a process may write."""
    code = "import resource, sys, pathlib; from mlipilot.jobs.disk_space import why_not_storable; "
    code += f"resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, {resource.RLIM_INFINITY})); "
    code += "print(why_not_storable(pathlib.Path(sys.argv[1]), 0))"
    done = subprocess.run([sys.executable, "-c", code, attempt], capture_output=True, text=True, check=True)
    assert "File too large (a file of 4 MiB was tried)" in done.stdout


@pytest.mark.parametrize("closed", ["attempt-1", "."])
def test_a_directory_without_rights_is_said(attempt: Path, closed: str) -> None:
    if os.geteuid() == 0:
        pytest.skip("nothing is closed to root")
    (attempt.parent / closed).chmod(0o555)
    said = why_not_storable(attempt, 0)
    (attempt.parent / closed).chmod(0o755)
    assert said is not None and ("may not be written to" in said or "Permission denied" in said)
