"""What a training takes of the machine is measured by trusted code, and bound, all its processes together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlipilot.jobs.job_files import JobOrder, JobResult, read_result
from mlipilot.jobs.kept_checkpoints import cpu_rest_s, rest_s
from mlipilot.jobs.notes import Ended
from mlipilot.jobs.sealing import ending_of
from tests.jobs.conftest import submit, wait
from tests.jobs.test_job_sh import Node, node

assert node  # a fixture

MakeOrder = Callable[..., JobOrder]
BUSY = "while True: pass"
UNWAITED = """
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel forgets what such children took
if os.fork() == 0:
    while True: pass
time.sleep(600)
"""
RELAY = """
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    if os.fork() == 0:
        while time.process_time() < 0.4: pass
        time.sleep(2.5)  # it is looked at
        os._exit(0)
    time.sleep(3)
"""


def _finish(run: Path, order: JobOrder, **limits: Any) -> JobResult:
    submit(run / "attempt", order.model_copy(update=limits))
    assert wait(run / "attempt", 300).phase == "sealed"
    return read_result(run / "attempt")


@pytest.mark.parametrize("code", [BUSY, UNWAITED, RELAY])
def test_a_job_at_its_limit_of_cpu_time_is_ended(run: Path, make_order: MakeOrder, code: str) -> None:
    result = _finish(run, make_order(code, limit_s=600), machine_limit_s=1.5)
    assert (result.outcome, result.exit_status) == ("time_limit", None)
    assert result.cpu_s is not None and 1.5 <= result.cpu_s < 30
    assert f"the training took {result.cpu_s:.1f} CPU-seconds and has 1.5: what the baseline's" in (
        result.reason or ""
    )


def test_a_job_that_waits_takes_no_cpu_time(run: Path, make_order: MakeOrder) -> None:
    result = _finish(run, make_order("import time; time.sleep(2.5)"), machine_limit_s=2.0)
    assert result.outcome == "ok" and (result.cpu_s or 0) < 2


def test_gpus_are_held_busy_or_not(run: Path, make_order: MakeOrder) -> None:
    code = "import time; time.sleep(60)"
    result = _finish(run, make_order(code), machine_limit_s=1.0, uses_gpu=True, gpus=0.5)
    assert result.outcome == "time_limit" and 2.0 <= result.wall_s < 60
    assert "GPU-seconds and has 1.0" in (result.reason or "")


@pytest.mark.parametrize("code", [BUSY, UNWAITED])
def test_a_slurm_job_at_its_limit_of_cpu_time_is_ended(node: Callable[..., Node], code: str) -> None:
    here = node(f"exec({code!r})", machine_limit_s=2.0)
    status, said = here.work()
    assert status == 0, said
    result = read_result(here.attempt)
    assert result.outcome == "time_limit", result.reason
    assert (result.cpu_s or 0) >= 2.0 and "CPU-seconds and has 2.0" in (result.reason or "")


def test_a_slurm_job_within_its_limit_ends_well(node: Callable[..., Node]) -> None:
    here = node("print('hello')", machine_limit_s=20.0)
    status, said = here.work()
    assert status == 0 and "Terminated" not in said
    assert read_result(here.attempt).outcome == "ok"


@pytest.fixture
def order(make_order: MakeOrder) -> JobOrder:
    return make_order("").model_copy(update={"machine_limit_s": 10.0})


@pytest.mark.parametrize(
    ("ended", "kept_s", "outcome"),
    [
        ({"cpu_s": 9.99}, 0.0, "ok"),
        ({"cpu_s": 10.0}, 0.0, "time_limit"),
        ({"cpu_s": 30.0, "exit_status": 3}, 0.0, "time_limit"),
        ({"cpu_s": 1.0, "exit_status": 3}, 0.0, "failed"),
        ({"cpu_s": 30.0, "cancelled": True}, 0.0, "cancelled"),
        ({"cpu_s": 4.0}, 5.9, "ok"),
        ({"cpu_s": 4.0}, 6.0, "time_limit"),
        ({"cpu_s": None, "wall_s": 9.0}, 0.0, "ok"),
        ({"cpu_s": None, "wall_s": 5.0}, 5.0, "time_limit"),
    ],
)
def test_the_end_is_judged_by_what_was_measured(
    order: JobOrder, ended: dict[str, Any], kept_s: float, outcome: str
) -> None:
    given = {"exit_status": 0, "cancelled": False, "wall_s": 1.0} | ended
    found = ending_of(Ended.model_validate(given), order, kept_s)
    assert found.outcome == outcome
    assert found.cpu_s == (None if given["cpu_s"] is None else pytest.approx(given["cpu_s"] + kept_s))
    free = order.model_copy(update={"machine_limit_s": None})
    assert ending_of(Ended.model_validate(given), free, kept_s).outcome != "time_limit"


def test_what_is_left_of_a_limit_for_a_later_start(order: JobOrder) -> None:
    on_gpu = order.model_copy(update={"uses_gpu": True, "gpus": 0.25})
    free = order.model_copy(update={"machine_limit_s": None})
    assert (cpu_rest_s(order, 4.0), rest_s(order, 4.0)) == (6.0, 56.0)
    assert (cpu_rest_s(on_gpu, 4.0), rest_s(on_gpu, 4.0)) == (None, 36.0)
    assert (cpu_rest_s(free, 4.0), rest_s(free, 4.0)) == (None, 56.0)
