"""Every metric by name, as the files of `evaluation/metrics/` declare them.

Importable in a few milliseconds: neither torch nor ASE is needed to name a metric.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

from mlipilot.evaluation import metrics
from mlipilot.evaluation.declaration import Group, Metric, System

__all__ = ["CATALOG", "GROUPS", "OF_THE_MACHINE", "System", "metrics_of"]


def _declared() -> tuple[Group, ...]:
    names = [f"{metrics.__name__}.{module.name}" for module in pkgutil.iter_modules(metrics.__path__)]
    held = [value for name in names for value in vars(import_module(name)).values()]
    found = {id(value): value for value in held if isinstance(value, Group)}
    return tuple(sorted(found.values(), key=lambda group: group.place))


GROUPS: tuple[Group, ...] = _declared()
"""The measurements with what they yield."""

CATALOG: dict[str, Metric] = {metric.name: metric for group in GROUPS for metric in group.metrics}
"""Every metric that a scorecard may name."""

OF_THE_MACHINE = frozenset(name for name, metric in CATALOG.items() if metric.of_the_machine)
"""What the clock and the memory of a machine say of a model: no two measurements are equal."""


def metrics_of(system: System) -> list[str]:
    """The metrics that make sense for a system, in the catalogue's order."""
    return [name for name, metric in CATALOG.items() if system in metric.systems]
