"""What is done and how long the rest takes: by cost, by shard, without reading twice."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlipilot.datasets.qm7_b3lyp.qm7_options import Qm7B3lypOptions
from mlipilot.datasets.qm7_b3lyp.tally import Clock, Tally, makespan
from mlipilot.datasets.qm7_b3lyp.work import Plan, frames_file, lay_out, write_frames
from tests.datasets.qm7_b3lyp.conftest import frame, molecule


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    sizes = [molecule(f"m{count}", *[6] * count) for count in range(2, 7)]
    return lay_out(tmp_path, Qm7B3lypOptions(source="embedded", shards=2), sizes)


def test_molecules_weigh_what_they_cost(tmp_path: Path, plan: Plan) -> None:
    tally = Tally(tmp_path, plan)
    assert (tally.done, tally.total, tally.seconds) == (0, 5, 0)
    assert sum(tally.left) == tally.all_seconds
    first = plan.shards[0][0]
    write_frames(tmp_path, 0, first, [frame(first.name, 0)])
    assert tally.done == 0
    tally.look()
    assert tally.done == 1
    assert tally.seconds / tally.all_seconds > 1 / 5  # the largest comes first


def test_options_are_read_once_and_whole_shards_no_more(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Any] = []
    validate = Qm7B3lypOptions.model_validate

    def validated(*given: Any) -> Qm7B3lypOptions:
        read.append(given)
        return validate(*given)

    def looked_at(folder: Path, _: str) -> list[Path]:
        read.append(folder)
        return []

    monkeypatch.setattr(Qm7B3lypOptions, "model_validate", validated)
    tally = Tally(tmp_path, Plan.model_validate_json(plan.model_dump_json()))
    for each in plan.shards[0]:
        write_frames(tmp_path, 0, each, [frame(each.name, 0)])
    tally.look()
    monkeypatch.setattr(Path, "glob", looked_at)
    tally.look()
    assert [each for each in read if isinstance(each, Path)] == [
        frames_file(tmp_path, 1, molecule("m")).parent
    ]
    assert len(read) == 2
    assert len(tally.left) == 1


def _tally(done: int, total: int, seconds: float, left: list[float]) -> Any:
    return SimpleNamespace(done=done, total=total, seconds=seconds, left=left)


@pytest.mark.parametrize(
    ("tally", "processes", "said"),
    [
        (_tally(5, 10, 50.0, [50.0]), 1, "5 of 10 molecules"),
        (_tally(6, 10, 60.0, [40.0]), 1, "6 of 10 molecules, about 40 min left"),
        # sixteen shards on fifteen cores: after the first wave a whole shard is left, not a fifteenth of one
        (_tally(15, 16, 65.0, [1.0]), 15, "15 of 16 molecules, about 10 min left"),
        (_tally(6, 10, 60.0, [20.0, 20.0]), 2, "6 of 10 molecules, about 40 min left"),
    ],
)
def test_the_clock_goes_by_what_was_done_since_the_start(
    tally: Any, processes: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    clock = Clock(seconds_at_start=50.0)
    now[0] += 600
    assert clock.words(tally, processes, processes) == said


@pytest.mark.parametrize(
    ("work", "processes", "ends"),
    [([], 3, 0), ([1] * 15, 15, 1), ([1] * 16, 15, 2), ([3, 1, 1, 1], 2, 3), ([1, 1, 1, 3], 2, 4)],
)
def test_the_last_shard_ends_the_work(work: list[float], processes: int, ends: float) -> None:
    assert makespan(work, processes) == ends
