"""Measurements as a list of tasks, made one after the other: what goes wrong in one is its metrics' failure.

Importable without torch and ASE.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from mlipilot.errors import InputError
from mlipilot.evaluation.catalog import GROUPS
from mlipilot.evaluation.declaration import Group
from mlipilot.evaluation.metrics_file import Entry, Measurement, MeasurementError, entry

if TYPE_CHECKING:
    from mlipilot.evaluation.bench import Bench

Progress = Callable[[str], None]


class Task(NamedTuple):
    """One measurement: what it is called, the metrics that it owes, and how to make it."""

    label: str
    names: list[str]
    measure: Callable[[], Measurement]
    stops: Callable[[Measurement], str] = lambda _: ""
    """Why nothing is measured after it, by what it found; empty where all is."""


def tasks_of(bench: Bench, asked: Sequence[str] = ()) -> list[Task]:
    """What is to be measured, in order: of each group the metrics that the data on the bench have labels of.

    `asked`: the metrics that a card judges by. With the sealed split only those groups that ask for it, and
    the exam's that no card judges by, which are not measured before.
    """
    tasks = []
    for group in sorted(GROUPS, key=lambda group: not group.early):
        owed = [m for m in group.metrics if bench.settings.system in m.systems and m.owed(bench)]
        if owed and _is_due(group, bench, asked):
            names = [metric.name for metric in owed]
            tasks.append(Task(group.name, names, partial(group.measure, bench), partial(group.stops, bench)))
    return tasks


def _is_due(group: Group, bench: Bench, asked: Sequence[str]) -> bool:
    waits = group.waits(asked)
    return group.sealed or waits if bench.split == "sealed" else not waits


def make(tasks: list[Task], progress: Progress) -> tuple[dict[str, Entry], dict[str, Any]]:
    """Make each measurement in turn: entries by metric name, and all curves."""
    entries: dict[str, Entry] = {}
    curves: dict[str, Any] = {}
    stopped = ""
    for task in tasks:
        start = time.perf_counter()
        measurement = _failed(task, stopped) if stopped else _attempt(task)
        stopped = stopped or task.stops(measurement)
        cost_s = time.perf_counter() - start
        entries |= {name: entry(name, measurement, cost_s) for name in task.names}
        curves |= measurement.curves
        failed = [entries[name].reason for name in task.names if entries[name].status == "failed"]
        progress(f"{task.label} {cost_s:.1f} s" + (f"; failed: {failed[0]}" if failed else ""))
    return entries, curves


def _attempt(task: Task) -> Measurement:
    try:
        return task.measure()
    except InputError:
        raise  # the data are wrong, not the model
    except MeasurementError as error:
        reason = str(error)
    # hostile or broken weights may raise anything in torch, ASE or SciPy: a failed metric, no crash
    except Exception as error:  # noqa: BLE001
        reason = f"{type(error).__name__}: {error}"
    return _failed(task, reason)


def _failed(task: Task, reason: str) -> Measurement:
    return Measurement(failures=dict.fromkeys(task.names, reason))
