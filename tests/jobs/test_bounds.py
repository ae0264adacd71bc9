"""What a job may take of a machine besides its time, and that it is ended beyond that, with the reason."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlipilot.audit.discarding import remove
from mlipilot.jobs import bounds, processes
from mlipilot.jobs.bounds import Bounds
from mlipilot.jobs.job_files import JobOrder, read_result
from mlipilot.jobs.processes import Meter, Taken, tasks_of_this_user
from tests.hostile import REPOSITORY, dig
from tests.jobs.conftest import submit, wait
from tests.jobs.test_job_sh import Node, node

assert node  # a fixture

HORDE = """
import os, time
for _ in range(600):
    if os.fork() == 0:
        time.sleep(600)
        os._exit(0)
time.sleep(600)
"""
HOARD = "import time; kept = [bytearray(2**20) for _ in range(400)]; time.sleep(600)"
BEYOND = [
    (HORDE, r"it had 60\d processes and may have 512"),
    (HOARD, r"it took \d+ MiB of memory and may take 300: see jobs.resources.memory_mib"),
]


def test_processes_and_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_resident_mib", lambda _: 2.0)
    monkeypatch.setattr(processes, "_shared_out_mib", lambda _: 1.5)
    for count, memory_mib, said in (
        (512, 1024, None),
        (513, 1024, "it had 513 processes and may have 512"),
        (512, 768, None),
        (512, 767, "it took 768 MiB of memory and may take 767: see jobs.resources.memory_mib"),
        (512, None, None),
    ):
        assert Bounds(tmp_path, memory_mib).excess(Taken(pids=frozenset(range(count)))) == said


def test_what_a_process_has_with_another_is_counted_once(tmp_path: Path) -> None:
    fork = "import os, time; kept = b'x' * 2**27; os.fork(); time.sleep(600)"
    pair = subprocess.Popen([sys.executable, "-c", fork])
    try:
        meter = Meter()
        while len(meter.look().pids) < 2:
            time.sleep(0.05)
        time.sleep(0.5)
        assert meter.last.memory_mib(1e6) > 256
        assert 128 < meter.last.memory_mib(200) < 200
    finally:
        for pid in meter.last.pids:
            os.kill(pid, signal.SIGKILL)
        pair.wait()


def test_what_is_left_is_counted_however_deep_and_whatever_it_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "_MEASURE_EVERY_S", 0.0)
    limits = Bounds(tmp_path, None)
    assert limits.excess(Taken()) is None  # there is no output yet
    output = tmp_path / "output"
    output.mkdir()
    dig(output, 1500)
    (output / "\udcff\n").write_bytes(b"x" * 3 * 2**20)
    assert limits.excess(Taken()) is None
    monkeypatch.setattr(bounds, "MOST_FILES", 1502)
    assert limits.excess(Taken()) == "it left 1503 files and may leave 1502"
    monkeypatch.setattr(bounds, "MOST_FILES", 1503)
    monkeypatch.setattr(bounds, "MOST_OUTPUT_MIB", 2)
    assert re.fullmatch(r"it left \d+ MiB and may leave 2", limits.excess(Taken()) or "")
    remove(output)  # pytest could not


def test_a_tree_is_not_counted_at_every_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MOST_FILES", 0)
    (tmp_path / "output").mkdir()
    limits = Bounds(tmp_path, None)
    assert limits.excess(Taken()) is None
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 5.1)
    assert limits.excess(Taken()) == "it left 1 files and may leave 0"
    assert limits.excess(Taken()) is None


@pytest.mark.parametrize(("code", "said"), BEYOND)
def test_a_local_job_beyond_them_is_ended(
    run: Path, make_order: Callable[..., JobOrder], code: str, said: str
) -> None:
    submit(run / "attempt", make_order(code, limit_s=600).model_copy(update={"memory_mib": 300}))
    assert wait(run / "attempt", 300).phase == "sealed"
    result = read_result(run / "attempt")
    assert (result.outcome, result.exit_status) == ("failed", None)
    assert re.fullmatch(said, result.reason or ""), result.reason
    assert result.wall_s < 120


@pytest.mark.parametrize(("code", "said"), BEYOND)
def test_a_slurm_job_beyond_them_is_ended(node: Callable[..., Node], code: str, said: str) -> None:
    here = node(f"exec({code!r})", memory_mib=300)
    status, words = here.work()
    assert status == 0, words
    result = read_result(here.attempt)
    assert result.outcome == "failed"
    assert re.fullmatch(said, result.reason or ""), result.reason
    assert len(Meter().look().pids) < 100


def test_scripts_have_the_same_bounds() -> None:
    (line,) = re.findall(r"^most_processes=.*$", (REPOSITORY / "sbatch/job.sh").read_text(), re.MULTILINE)
    names = ("MOST_PROCESSES", "MOST_FILES", "MOST_OUTPUT_MIB", "PROCESSES_OF_A_USER")
    assert line == " ".join(f"{name.lower()}={getattr(bounds, name)}" for name in names)


def test_the_tasks_of_a_user_are_at_least_this_one() -> None:
    assert 1 <= tasks_of_this_user() < 10**6
