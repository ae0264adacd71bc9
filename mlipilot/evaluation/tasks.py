"""Measurements as a list of tasks, made one after the other: what goes wrong in one is its metrics' failure.

Importable without torch and ASE.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from mlipilot.errors import InputError

if TYPE_CHECKING:
    from mlipilot.evaluation.results import Measurement

Progress = Callable[[str], None]


class Task(NamedTuple):
    """One measurement: what it is called, the metrics that it owes, and how to make it."""

    label: str
    names: list[str]
    measure: Callable[[], Measurement]


def make(
    tasks: list[Task], max_relative_cost: float, progress: Progress
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make each measurement in turn: entries by metric name, and all curves."""
    from mlipilot.evaluation.results import entry

    entries: dict[str, Any] = {}
    curves: dict[str, Any] = {}
    for task in tasks:
        start = time.perf_counter()
        dearness = (entries.get("relative_cost") or {}).get("value") or 0.0
        measurement = _too_dear(task, dearness) if dearness > max_relative_cost else _attempt(task)
        cost_s = time.perf_counter() - start
        entries |= {name: entry(name, measurement, cost_s) for name in task.names}
        curves |= measurement.curves
        failed = [entries[name]["reason"] for name in task.names if entries[name]["status"] == "failed"]
        progress(f"{task.label} {cost_s:.1f} s" + (f"; failed: {failed[0]}" if failed else ""))
    return entries, curves


def _attempt(task: Task) -> Measurement:
    from mlipilot.evaluation.results import Measurement, MeasurementError

    try:
        return task.measure()
    except InputError:
        raise  # the data are wrong, not the model
    except MeasurementError as error:
        reason = str(error)
    # hostile or broken weights may raise anything in torch, ASE or SciPy: a failed metric, no crash
    except Exception as error:  # noqa: BLE001
        reason = f"{type(error).__name__}: {error}"
    return Measurement(failures=dict.fromkeys(task.names, reason))


def _too_dear(task: Task, relative_cost: float) -> Measurement:
    from mlipilot.evaluation.results import Measurement

    reason = f"not measured: the model costs {relative_cost:.3g} times the reference"
    return Measurement(failures=dict.fromkeys(task.names, reason))
