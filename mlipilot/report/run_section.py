"""The section that speaks of a whole run: its lineages in order, the best of them, statistics over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mlipilot.controller.accept import mean
from mlipilot.report.apart import apart
from mlipilot.report.ranking import RunView, by_pilot, compare, incumbent_scores
from mlipilot.report.rows import objective_text, sealed_headline
from mlipilot.report.summary import pilot_name
from mlipilot.report.text import count, mean_sd, number
from mlipilot.report.verdict_rows import VerdictsRow, verdict_rows
from mlipilot.report.view import IterationView, LineageView, Status
from mlipilot.untrusted import one_line

_VERDICTS: tuple[Status, ...] = ("accepted", "reverted", "invalid")


@dataclass(frozen=True)
class LineageRow:
    """One lineage in a line; each second text is a remark on the first."""

    number: int
    page: str
    """Where it is shown in full: the name of its own page beside the run's, or a place in the same."""
    is_best: bool
    pilot: str
    seeds: str
    iterations: str
    verdicts: str
    """Accepted / reverted / invalid."""
    gates: str
    """Passed by the baseline → by the incumbent, of the section's `gates`."""
    passed: bool | None
    """Whether the incumbent passes all of them; None before it is measured."""
    incumbent: str
    """Its objective where it is feasible, else its total violation."""
    behind: str
    """How it stands to the best lineage's incumbent."""
    sealed: str
    """Force error on sealed data."""
    sealed_test: str
    """The same on the test split."""
    gpu_h: str
    cpu_h: str
    state: str


@dataclass(frozen=True)
class StatisticsRow:
    """Mean ± sample standard deviation over lineages, with their number."""

    what: str
    count: int
    feasible: str
    gates: str
    violation: str
    objective: str
    """Of the feasible ones, with their own number."""


@dataclass(frozen=True)
class LineagesSection:
    """What a report says of all lineages together."""

    count: int
    best: int | None
    said: str
    problems: list[str]
    """Lineages that are left out, and why, and what is wrong with others."""
    gates: int
    rows: list[LineageRow]
    gpu_h: str
    cpu_h: str
    sealed_unit: str
    statistics: list[StatisticsRow]
    verdicts: list[VerdictsRow]
    apart: list[str] = field(default_factory=list)
    """Where lineages ran on different clusters, machines, images or versions, and what that means."""


def lineages_section(run: RunView) -> LineagesSection:
    """The table, the sentences and the statistics; the ranked lineages first, in order."""
    unranked = [view for view in run.lineages if not incumbent_scores(view)]
    sealed = [row for view in run.lineages if (row := sealed_headline(view)) is not None]
    return LineagesSection(
        count=len(run.lineages) + len(run.broken),
        best=run.best.lineage.number if run.best is not None else None,
        said=" ".join(_said(run)),
        problems=_problems(run),
        gates=len(run.lineages[0].gates),
        rows=[_row(run, view) for view in [*run.ranked, *unranked]],
        gpu_h=_hours(sum(view.total_cost.gpu_s for view in run.lineages)),
        cpu_h=_hours(sum(view.total_cost.cpu_s for view in run.lineages)),
        sealed_unit=sealed[0].unit if sealed else "",
        statistics=_statistics(run),
        verdicts=verdict_rows(run),
        apart=apart(run.lineages),
    )


def _problems(run: RunView) -> list[str]:
    said = [f"Lineage {number} is left out: {error}." for number, error in run.broken.items()]
    said += [f"Lineage {view.lineage.number}: {text}." for view in run.lineages for text in view.problems]
    return [one_line(text.replace(f"{run.lineages[0].run.root}/", ""), 400) for text in said]


def _row(run: RunView, view: LineageView) -> LineageRow:
    statuses = [iteration.status for iteration in view.iterations[1:]]
    before, after = view.gates_passed(view.baseline), view.gates_passed(view.incumbent)
    sealed = sealed_headline(view)
    return LineageRow(
        number=view.lineage.number,
        page=view.run.lineage_html(view.lineage.number).name,
        is_best=view is run.best,
        pilot=pilot_name(view),
        seeds=", ".join(map(str, view.spec.seeds)),
        iterations=f"{len(statuses)} of {view.spec.budget.iterations}",
        verdicts=" / ".join(str(statuses.count(word)) for word in _VERDICTS),
        gates="—" if before is None or after is None else f"{before} → {after}",
        passed=None if after is None else after == len(view.gates),
        incumbent=_measure(view),
        behind=_behind(run, view),
        sealed=sealed.incumbent_sealed if sealed else "—",
        sealed_test=sealed.incumbent_test if sealed else "",
        gpu_h=_hours(view.total_cost.gpu_s),
        cpu_h=_hours(view.total_cost.cpu_s),
        state=view.phase,
    )


def _measure(view: LineageView) -> str:
    """What the accept rule looks at in the incumbent."""
    if view.incumbent is None or not view.incumbent.measured:
        return "—"
    if view.incumbent.feasible:
        return f"objective {objective_text(view.incumbent)}"
    return f"violation {mean_sd(view.incumbent.violations)}"


def _behind(run: RunView, view: LineageView) -> str:
    """A lineage's distance from the best one in ln units, and whether it is more than noise."""
    if run.best is None or view is run.best or not incumbent_scores(view):
        return ""
    judgement = compare(run.best, view)
    if judgement.gain is None or judgement.threshold is None:
        return "fails gates" if _only_one_feasible(run.best, view) else "its objective is not known"
    distance = f"{number(judgement.gain, 2)} behind"
    if _noise_is_unknown(run.best, view):
        return f"{distance}; noise not known"
    if judgement.verdict == "accepted":
        return f"{distance}, needed > {number(judgement.threshold, 2)}: beyond the noise"
    return f"{distance}, needed > {number(judgement.threshold, 2)}: too little to count"


def _only_one_feasible(first: LineageView, second: LineageView) -> bool:
    return first.feasible != second.feasible


def _noise_is_unknown(*views: LineageView) -> bool:
    return all(len(view.spec.seeds) == 1 for view in views)


def _said(run: RunView) -> list[str]:
    """Which lineage is the best, and how sure that is."""
    measured = len(run.ranked)
    lineages = count(len(run.lineages) + len(run.broken), "lineage")
    if run.best is None:
        return [f"The run has {lineages}; none has a measured incumbent yet."]
    feasible = sum(view.feasible for view in run.ranked)
    is_alone = "There is none to compare it with yet."
    against = _against_the_next(run.best, run.ranked[1]) if measured > 1 else is_alone
    return [
        f"The run has {lineages}; {feasible} of {count(measured, 'measured incumbent')} "
        f"{'passes' if feasible == 1 else 'pass'} every gate on every seed.",
        f"By the accept rule's order lineage {run.best.lineage.number} ({pilot_name(run.best)}) is the best.",
        against,
    ]


def _against_the_next(best: LineageView, second: LineageView) -> str:
    """The accept rule's figures for the best two."""
    if _only_one_feasible(best, second):
        return "Its incumbent alone passes every gate."
    judgement = compare(best, second)
    figures = f"Against lineage {second.lineage.number}, the next: {judgement.reason}."
    if judgement.gain is None:
        return figures
    if _noise_is_unknown(best, second):
        return f"{figures} One seed a lineage cannot tell a better lineage from a lucky one."
    if judgement.verdict == "accepted":
        return f"{figures} That is beyond the noise."
    return f"{figures} That is too little to count: it does not tell the two apart."


def _statistics(run: RunView) -> list[StatisticsRow]:
    """The baselines, then the incumbents of each pilot's lineages."""
    # Lineages of different pilots begin with the same recipe on the same seeds: that is one measurement.
    baselines = {
        tuple(seed.seed for seed in view.baseline.seeds): view.baseline
        for view in run.lineages
        if view.baseline is not None and view.baseline.measured
    }
    rows = [_statistics_row("baselines", run, list(baselines.values()))] if baselines else []
    for views in by_pilot(run.ranked):
        incumbents = [view.incumbent for view in views if view.incumbent is not None]
        rows.append(_statistics_row(f"incumbents, {pilot_name(views[0])}", run, incumbents))
    return rows


def _statistics_row(what: str, run: RunView, candidates: Sequence[IterationView]) -> StatisticsRow:
    feasible = [candidate for candidate in candidates if candidate.feasible]
    passed = [run.lineages[0].gates_passed(candidate) for candidate in candidates]
    objectives = [candidate.objective for candidate in feasible if candidate.objective is not None]
    return StatisticsRow(
        what=what,
        count=len(candidates),
        feasible=f"{len(feasible)} of {len(candidates)}",
        gates=mean_sd([value for value in passed if value is not None]),
        violation=mean_sd([mean(candidate.violations) for candidate in candidates]),
        objective=f"{mean_sd(objectives)} (n = {len(objectives)})" if objectives else "—",
    )


def _hours(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:.2f}" if hours < 10 else f"{hours:.1f}" if hours < 1000 else f"{hours:.0f}"
