"""What the exam at a lineage's end said, for every form of report: sealed gates, physics, the committee."""

from __future__ import annotations

from dataclasses import dataclass

from mlipilot.audit.events.concluding import CommitteeResult, ExamResult
from mlipilot.evaluation.catalog import CATALOG, metric_unit
from mlipilot.report.text import joined, mean_sd, metric_label, number
from mlipilot.report.view import IterationView, LineageView


@dataclass(frozen=True)
class ExamRow:
    """A metric that no card judges by, mean and standard deviation over seeds."""

    label: str
    unit: str
    baseline: str
    incumbent: str
    reason: str
    """Why a seed has none."""


@dataclass(frozen=True)
class CommitteeRow:
    """The seeds of one candidate as a committee, on structures of one kind."""

    who: str
    on: str
    error: str
    """Root mean square of the members' mean, meV/Å."""
    spread: str
    spearman: str
    ence: str
    area: str


def exam_result(view: LineageView, iteration: int | None) -> ExamResult | None:
    """What the ledger has of an iteration's exam; None before it, and where nothing was confirmed."""
    results = view.state.examined.results if view.state.examined else []
    return next((result for result in results if result.iteration == iteration), None)


def exam_rows(view: LineageView) -> list[ExamRow]:
    """Every metric of the exam that baseline or incumbent has; none before the end."""
    both = [view.baseline, view.incumbent]
    names = {name for one in both if one is not None for seed in one.seeds for name in seed.exam}
    found = []
    for name in [known for known in CATALOG if known in names]:
        baseline, incumbent = (_spread(one, name) for one in both)
        reasons = _reasons(both, name)
        found.append(ExamRow(metric_label(name), metric_unit(name), baseline, incumbent, reasons))
    return found


def _spread(iteration: IterationView | None, name: str) -> str:
    entries = [seed.exam[name] for seed in iteration.seeds if name in seed.exam] if iteration else []
    values = [entry.value for entry in entries if entry.value is not None]
    failed = len(entries) - len(values)
    if not values:
        return "failed" if entries else "—"
    return mean_sd(values) + (f" ({failed} of {len(entries)} failed)" if failed else "")


def _reasons(iterations: list[IterationView | None], name: str) -> str:
    entries = [seed.exam.get(name) for one in iterations if one is not None for seed in one.seeds]
    return "; ".join(dict.fromkeys(entry.reason for entry in entries if entry and entry.reason))


def committee_rows(view: LineageView) -> list[CommitteeRow]:
    """The committees of baseline and incumbent; none before the exam."""
    results = view.state.examined.results if view.state.examined else []
    return [
        _committee("baseline" if result.iteration == 0 else f"iteration {result.iteration}", one)
        for result in results
        for one in result.committee
    ]


def _committee(who: str, one: CommitteeResult) -> CommitteeRow:
    errors = number(one.force_rmse_mev_per_a), number(one.force_spread_mev_per_a)
    figures = number(one.spearman, 2), number(one.ence, 2), number(one.miscalibration_area, 2)
    return CommitteeRow(who, one.on, *errors, *figures)


def exam_sentences(view: LineageView) -> list[str]:
    """Whether the incumbent passes its gates on data that no verdict has used."""
    result = exam_result(view, view.state.incumbent)
    if result is None or view.state.confirmed is None:
        return []
    seeds = len(view.state.confirmed.seeds)
    said = (
        "On the sealed split it passes every gate that can be asked there with "
        f"{result.passed} of {seeds} fresh seeds"
    )
    if result.passed == seeds:
        return [f"{said}."]
    missed = joined([metric_label(metric) for metric in result.failed]) or "not all could be measured"
    return [f"{said} ({missed}): it is not feasible there."]
