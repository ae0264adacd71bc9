"""Training logs are printed by agent code: whatever stands there, reading is bounded and gives numbers."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from mlipilot.report import training_curves
from mlipilot.report.training_curves import MAX_POINTS, read_training_curve


def _write(path: Path, *rows: object) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def _progress(step: object, loss: object) -> dict[str, object]:
    return {"event": "progress", "step": step, "train_loss": loss}


def test_progress_events_become_a_curve(tmp_path: Path) -> None:
    log = _write(tmp_path / "log", {"event": "start"}, _progress(10, 2.5), "noise", _progress(20, 1.5))
    curve = read_training_curve(log)
    assert (curve.train_loss.steps, curve.train_loss.values) == ([10, 20], [2.5, 1.5])
    assert curve.valid_force_mae_mev_per_a.steps == []
    assert not curve.cut


@pytest.mark.parametrize("bad", [math.nan, math.inf, "1", None, True, [], 1e300, -1.0, 0, 10**400])
def test_what_is_no_number_for_an_axis_is_left_out(tmp_path: Path, bad: object) -> None:
    log = _write(
        tmp_path / "log", _progress(1, 3.0), _progress(2, bad), _progress(bad, 1.0), _progress(4, 2.0)
    )
    assert read_training_curve(log).train_loss.steps == [1, 4]


def test_steps_only_rise(tmp_path: Path) -> None:
    log = _write(tmp_path / "log", *(_progress(step, 1.0) for step in (5, 3, 5, 9)))
    assert read_training_curve(log).train_loss.steps == [5, 9]


def test_a_flood_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_curves, "MAX_LOG_BYTES", 10_000)
    log = _write(tmp_path / "log", "[" * 50_000, _progress(1, 1.0))
    curve = read_training_curve(log)
    assert curve.cut
    assert curve.train_loss.steps == []


def test_a_long_line_is_passed_over(tmp_path: Path) -> None:
    log = _write(tmp_path / "log", _progress(1, 1.0) | {"x": "y" * 100_000}, _progress(2, 1.0))
    assert read_training_curve(log).train_loss.steps == [2]


def test_many_points_are_thinned_and_the_last_is_kept(tmp_path: Path) -> None:
    log = _write(tmp_path / "log", *(_progress(step, 1.0) for step in range(1, 5001)))
    steps = read_training_curve(log).train_loss.steps
    assert len(steps) <= MAX_POINTS + 1
    assert steps[-1] == 5000


def test_links_and_pipes_are_not_read(tmp_path: Path) -> None:
    target = _write(tmp_path / "target", _progress(1, 1.0))
    (tmp_path / "link").symlink_to(target)
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe", "missing"):
        assert read_training_curve(tmp_path / name).train_loss.steps == []
