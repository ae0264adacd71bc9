"""The final results: the baseline beside the model that stands, test beside sealed data, and what each cost.

The two are compared seed by seed, on the seeds that both were measured with: the fresh ones where there
were any. A ratio is the geometric mean over seeds. Its interval is Student's, of the mean of the paired
logarithms, with 95 % confidence.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from mlipilot.controller.accept import mean, student_t
from mlipilot.evaluation.catalog import CATALOG, metric_unit
from mlipilot.report.exam_rows import exam_result
from mlipilot.report.rows import objective_text, sealed_rows
from mlipilot.report.scorecard_rows import values_text
from mlipilot.report.text import mean_sd, metric_label, number, signed, standard_deviation
from mlipilot.report.view import IterationView, LineageView, SeedView

_SURE_BELOW = 0.975
"""So that 95 % lie between the two ends of an interval."""

_BOUND = (
    " The share of trainings that pass every gate is the lower bound of Clopper and Pearson, 95 % confidence."
)

OfSeed = Callable[[SeedView], float | None]


@dataclass(frozen=True)
class ResultRow:
    """One measure of baseline and incumbent."""

    label: str
    unit: str
    baseline_test: str
    incumbent_test: str
    change: str = ""
    """The incumbent's over the baseline's, on test data."""
    interval: str = ""
    """Of the change, with 95 % confidence."""
    baseline_sealed: str = ""
    incumbent_sealed: str = ""


def result_rows(view: LineageView) -> list[ResultRow]:
    """What counts, what it is made of, sealed data's other errors, and cost; none before a measurement."""
    baseline, incumbent = view.baseline, view.incumbent
    if baseline is None or incumbent is None or not baseline.scores:
        return []
    both = baseline, incumbent
    before, after = map(objective_text, both)
    objective = _ratio(*both, lambda seed: seed.score.log_objective if seed.score else None)
    return [
        _passing(view, *both),
        _violation(*both),
        ResultRow("objective", "", before, after, *objective),
        *_metrics(view, *both),
        *_training(view, *both),
    ]


def results_note(view: LineageView) -> str:
    """Of which seeds the results are, and what that is worth."""
    said = "Test: mean ± sample standard deviation over seeds; sealed: mean over the same seeds."
    if view.improved:
        said += (
            " Ratios are to the baseline: a geometric mean over seeds, paired, with Student's 95 % interval."
        )
    if view.fresh:
        return f"{said} All of it is of fresh seeds, which chose nothing.{_BOUND * _shows_a_rate(view)}"
    if view.improved:
        said += " These seeds also chose the model: with others it is likely to look less good."
    return said


def paired(
    baseline: IterationView, incumbent: IterationView, of: OfSeed
) -> tuple[float, float | None] | None:
    """The mean over seeds of incumbent − baseline, and half its 95 % interval's width.

    None where they are the same or a seed lacks a value; no width for one seed.
    """
    before = {seed.seed: of(seed) for seed in baseline.seeds}
    pairs = [(before.get(seed.seed), of(seed)) for seed in incumbent.seeds]
    found = [new - old for old, new in pairs if old is not None and new is not None]
    if baseline is incumbent or not found or len(found) < max(len(before), len(pairs)):
        return None
    sd = standard_deviation(found)
    half = None if sd is None else student_t(_SURE_BELOW, len(found) - 1) * sd / math.sqrt(len(found))
    return mean(found), half


def _ratio(baseline: IterationView, incumbent: IterationView, log: OfSeed) -> tuple[str, str]:
    """A change and its interval in words, from logarithms."""
    found = paired(baseline, incumbent, log)
    if found is None:
        return "", ""
    middle, half = found
    ends = [] if half is None else [number(math.exp(end)) for end in (middle - half, middle + half)]
    return number(math.exp(middle)), " to ".join(ends)


def _passing(view: LineageView, baseline: IterationView, incumbent: IterationView) -> ResultRow:
    """On how many seeds every gate holds; with fresh ones also in which share of trainings at least."""
    before, after = (
        f"{sum(score.feasible for score in one.scores)} of {len(one.seeds)}" for one in (baseline, incumbent)
    )
    found = view.state.confirmed
    share = f"in ≥ {found.pass_rate_at_least:.0%} of trainings" if found and _shows_a_rate(view) else ""
    sealed = (_passing_sealed(view, one) for one in (baseline, incumbent))
    return ResultRow("seeds that pass every gate", "", before, after, "", share, *sealed)


def _passing_sealed(view: LineageView, iteration: IterationView) -> str:
    """On how many seeds those gates hold that sealed data can be asked for; empty where that is not known."""
    result = exam_result(view, iteration.number)
    return "" if result is None else f"{result.passed} of {len(iteration.seeds)}"


def _shows_a_rate(view: LineageView) -> bool:
    """Whether fresh seeds say that the incumbent passes every gate now and then."""
    found = view.state.confirmed
    return found is not None and found.whole.confirmed and found.whole.passed > 0


def _violation(baseline: IterationView, incumbent: IterationView) -> ResultRow:
    """The total violation of the gates, which may be 0: a difference and no ratio."""
    before, after = (mean_sd(one.violations) for one in (baseline, incumbent))
    found = paired(baseline, incumbent, lambda seed: seed.score.violation if seed.score else None)
    change, interval = "", ""
    if found is not None:
        middle, half = found
        ends = [] if half is None else [signed(end) for end in (middle - half, middle + half)]
        change, interval = f"difference {signed(middle)}", " to ".join(ends)
    return ResultRow("total gate violation", "ln units", before, after, change, interval)


def _metrics(view: LineageView, baseline: IterationView, incumbent: IterationView) -> list[ResultRow]:
    """The objective's terms, whatever else sealed data have, and what the machine says of the model."""
    sealed = {row.metric: (row.baseline_sealed, row.incumbent_sealed) for row in sealed_rows(view)}
    terms = [term.metric for term in view.card.objective.terms]
    timed = [n for n, m in CATALOG.items() if m.of_the_machine and m.better != "none" and baseline.values(n)]
    return [
        ResultRow(
            metric_label(name),
            metric_unit(name),
            values_text(baseline, name),
            values_text(incumbent, name),
            *_ratio(baseline, incumbent, _log_of(name)),
            *sealed.get(name, ("", "")),
        )
        for name in dict.fromkeys([*terms, *sealed, *timed])
    ]


def _log_of(metric: str) -> OfSeed:
    def log(seed: SeedView) -> float | None:
        entry = seed.metrics.get(metric)
        return _log(entry.value if entry else None)

    return log


def _training(view: LineageView, baseline: IterationView, incumbent: IterationView) -> list[ResultRow]:
    """The machine time of a training."""
    before, after = (
        [seed.training_s for seed in one.seeds if seed.training_s is not None]
        for one in (baseline, incumbent)
    )
    if not before:
        return []
    label = f"a training's {'GPU' if view.spec.jobs.device == 'cuda' else 'CPU'} time"
    change = _ratio(baseline, incumbent, lambda seed: _log(seed.training_s))
    return [ResultRow(label, "s", mean_sd(before), mean_sd(after), *change)]


def _log(value: float | None) -> float | None:
    return math.log(value) if value is not None and value > 0 else None
