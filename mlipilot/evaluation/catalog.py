"""Every metric by name, as the files of `evaluation/metrics/` declare them.

Importable in a few milliseconds: neither torch nor ASE is needed to name a metric.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Sequence
from importlib import import_module

from mlipilot.errors import InputError
from mlipilot.evaluation import metrics
from mlipilot.evaluation.bench_settings import BENCH_SECTIONS
from mlipilot.evaluation.declaration import ALL, Group, Metric, Section, System
from mlipilot.evaluation.panels import Figure, Panel

__all__ = [
    "CATALOG",
    "ERRORS",
    "EXAM",
    "EXPLAINED",
    "GROUPS",
    "OF_THE_MACHINE",
    "SPREAD",
    "System",
    "metric_unit",
    "metrics_before_the_exam",
    "metrics_of",
    "panels_of",
]


def _declared() -> tuple[Group, ...]:
    found: dict[int, Group] = {}
    taken = {f"the section {name!r}": "the bench" for name, _, _ in BENCH_SECTIONS}
    for module in pkgutil.iter_modules(metrics.__path__):
        file = f"{metrics.__name__}.{module.name}"
        try:
            held = vars(import_module(file)).values()
        except Exception as error:  # whoever adds a file may write anything
            raise InputError(f"cannot be imported: {type(error).__name__}: {error}", file=file) from error
        groups = [value for value in held if isinstance(value, Group) and id(value) not in found]
        for group in groups:
            _check(group, file, taken)
            found[id(group)] = group
    return tuple(sorted(found.values(), key=lambda group: group.place))


def _check(group: Group, file: str, taken: dict[str, str]) -> None:
    """Raises InputError naming what two declarations both claim, or what no scorecard could read."""
    if lost := {m.noise for m in group.metrics if m.noise} - {metric.name for metric in group.metrics}:
        raise InputError(
            f"no metric {lost.pop()!r} is declared beside the one that it is the noise of", file=file
        )
    claims = [f"the metric {metric.name!r}" for metric in group.metrics]
    claims += [f"the section {section.name!r}" for section in group.sections]
    claims += [f"the reference value {key!r}" for key in group.reference]
    claims += [f"the place {group.place}", f"the group {group.name!r}"]
    for claim in claims:
        if claim in taken:
            raise InputError(f"{claim} is declared by {taken[claim]}, too", file=file, mend="rename one")
    taken |= dict.fromkeys(claims, file)
    named: list[Metric | Section] = [*group.metrics, *group.sections]
    for one in named:
        if strangers := set(one.systems) - set(ALL):
            raise InputError(
                f"{one.name}: there is no system {sorted(strangers)[0]!r}",
                file=file,
                mend=f"the systems are {', '.join(ALL)}",
            )
    for section in group.sections:
        if needed := [name for name, each in section.model.model_fields.items() if each.is_required()]:
            raise InputError(f"settings.{section.name}.{needed[0]} has no default", file=file)


GROUPS: tuple[Group, ...] = _declared()
"""The measurements with what they yield."""

CATALOG: dict[str, Metric] = {metric.name: metric for group in GROUPS for metric in group.metrics}
"""Every metric that a scorecard may name."""

OF_THE_MACHINE = frozenset(name for name, metric in CATALOG.items() if metric.of_the_machine)
"""What the clock and the memory of a machine say of a model: no two measurements are equal."""

EXAM = frozenset(metric.name for group in GROUPS if group.exam for metric in group.metrics)
"""What is measured once, at a lineage's end, unless a card judges by it."""

ERRORS = frozenset(group.name for group in GROUPS if group.forces is not None and not group.forces.on)
"""The measurements on a split's own labelled frames that compare every force."""

(EXPLAINED,) = (
    metric.name for group in GROUPS if group.name in ERRORS for metric in group.metrics if metric.spread
)
"""How much of what the true forces say a model says, too: 1 all of it, 0 nothing."""

SPREAD = frozenset(name for name, metric in CATALOG.items() if metric.spread)
"""What tells a model from one that says nothing."""


def metrics_of(system: System) -> list[str]:
    """The metrics that make sense for a system, in the catalogue's order."""
    return [name for name, metric in CATALOG.items() if system in metric.systems]


def metrics_before_the_exam(system: System, asked: Sequence[str]) -> list[str]:
    """Those of them that are measured on the test split, where a card judges by the `asked` ones."""
    waiting = {metric.name for group in GROUPS if group.waits(asked) for metric in group.metrics}
    return [name for name in metrics_of(system) if name not in waiting]


def metric_unit(name: str) -> str:
    """A metric's unit; empty for a pure number and for a name that the catalog does not have."""
    info = CATALOG.get(name)
    return "" if info is None or info.unit == "1" else info.unit


def panels_of(system: System) -> dict[Figure, list[Panel]]:
    """The figures of what is measured on a system, in the catalogue's order, and the panels of each."""
    measured = [group for group in GROUPS if any(system in metric.systems for metric in group.metrics)]
    found: dict[Figure, list[Panel]] = {}
    for panel in (panel for group in measured for panel in group.panels):
        found.setdefault(panel.figure, []).append(panel)
    return {figure: sorted(panels, key=lambda panel: panel.title) for figure, panels in found.items()}
