"""Training curves from a job's log: numbers that agent code printed, so bounded and checked one by one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlipilot.jobs.logs import json_events
from mlipilot.untrusted import open_untrusted

MAX_LOG_BYTES = 4 * 1024 * 1024
MAX_POINTS = 600
_MAX_LINE_BYTES = 4096


@dataclass(frozen=True)
class Series:
    """A quantity over optimiser steps."""

    steps: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class TrainingCurve:
    """What a training printed of its progress."""

    train_loss: Series = Series()
    """In the recipe's own units: comparable between iterations only where the loss is the same."""
    valid_force_mae_mev_per_a: Series = Series()
    valid_energy_mae_mev_per_atom: Series = Series()
    cut: bool = False
    """Whether the log is longer than what was read of it."""


def read_training_curve(log: Path) -> TrainingCurve:
    """The progress events of the first MAX_LOG_BYTES of a log; empty where there is none."""
    data = _head(log)
    lines = [line for line in data[:MAX_LOG_BYTES].split(b"\n") if len(line) <= _MAX_LINE_BYTES]
    events = [
        event
        for event in json_events([line.decode("utf-8", errors="replace") for line in lines])
        if event["event"] == "progress"
    ]
    return TrainingCurve(
        train_loss=_series(events, "train_loss"),
        valid_force_mae_mev_per_a=_series(events, "valid_force_mae_mev_per_a"),
        valid_energy_mae_mev_per_atom=_series(events, "valid_energy_mae_mev_per_atom"),
        cut=len(data) > MAX_LOG_BYTES,
    )


def _head(path: Path) -> bytes:
    """The start of a regular file; a link or a pipe that a job put there is passed over."""
    try:
        with open_untrusted(path) as stream:
            return stream.read(MAX_LOG_BYTES + 1)
    except OSError:
        return b""


def _series(events: list[dict[str, Any]], name: str) -> Series:
    """The positive values of one quantity at rising steps, thinned to MAX_POINTS with the last one kept."""
    points: list[tuple[float, float]] = []
    for event in events:
        step, value = _positive(event.get("step")), _positive(event.get(name))
        if step is not None and value is not None and (not points or step > points[-1][0]):
            points.append((step, value))
    stride = math.ceil(len(points) / MAX_POINTS) or 1
    kept = points[:-1:stride] + points[-1:]
    return Series([step for step, _ in kept], [value for _, value in kept])


def _positive(value: Any) -> float | None:
    """A number that a logarithmic axis can show, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1e-12 < value < 1e12:
        return None
    return float(value)
