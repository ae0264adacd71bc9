"""A test that hangs fails by itself, leaves no process, and the next one runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.timeouts import LONG_S
from tests.waiting import wait_until

REPOSITORY = Path(__file__).resolve().parents[1]
HANGING = """
import os, subprocess, time
from pathlib import Path
import pytest

HERE = Path(__file__).parent
# One child, and one that has left its family, as daemons do.
START = f"sleep 600 & echo $! >>{HERE}/pids; setsid -f sh -c 'echo $$ >>{HERE}/pids; exec sleep 600'"

@pytest.fixture(scope="module")
def service():
    process = subprocess.Popen(["sleep", "600"])
    yield process
    (HERE / "torn down").write_text(str(process.poll()))
    process.kill()
    process.wait()

def test_hangs(service):
    subprocess.run(START, shell=True)
    (HERE / "others").write_text("")
    time.sleep(600)

def test_goes_on(service):
    assert service.poll() is None
"""
CONFTEST = f"""
import sys
sys.path.insert(0, {str(REPOSITORY)!r})
from tests.timeouts import give_long_ones_time, pytest_runtest_makereport

def pytest_collection_modifyitems(items):
    for item in items:
        give_long_ones_time(item)
"""


def _pytest(folder: Path, *options: str) -> str:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-c",
            "/dev/null",
            "--rootdir",
            ".",
            "-p",
            "no:cacheprovider",
            *options,
        ],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.stdout


def _runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_test_that_hangs_leaves_nothing_and_the_next_one_runs(tmp_path: Path, workers: str) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_hanging.py").write_text(HANGING)
    said = _pytest(tmp_path, "-n", workers, "--timeout=5", "--timeout-method=signal")
    assert "1 failed, 1 passed" in said and "Timeout (>5.0s) from pytest-timeout" in said, said
    pids = (tmp_path / "pids").read_text().split()
    assert len(pids) == 2
    wait_until(lambda: not any(map(_runs, pids)))
    assert (tmp_path / "torn down").read_text() == "None", "what a fixture began is the fixture's to end"


def test_every_test_has_a_limit_and_marked_ones_have_more(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    assert 0 < float(request.config.getini("timeout")) < min(LONG_S.values())
    assert request.config.getini("timeout_method") == "signal"
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_marked.py").write_text(
        """
import pytest

def limit(request):
    mark = request.node.get_closest_marker("timeout")
    return mark.args[0] if mark else None

def test_plain(request):
    assert limit(request) is None

@pytest.mark.slow
def test_slow(request):
    assert limit(request) == 1800

@pytest.mark.sweep
@pytest.mark.cluster
def test_of_minutes(request):
    assert limit(request) == 7200

@pytest.mark.slow
@pytest.mark.timeout(7)
def test_with_its_own(request):
    assert limit(request) == 7
"""
    )
    assert "4 passed" in _pytest(tmp_path)
