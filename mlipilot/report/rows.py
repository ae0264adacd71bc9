"""The report's tables as plain data: the terminal, the page and the text draw the same rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mlipilot.audit.events.concluding import Errors, SealedCheck
from mlipilot.controller import spending
from mlipilot.controller.accept import mean
from mlipilot.controller.state import NO_RESULT
from mlipilot.evaluation.catalog import CATALOG, EXAM, GROUPS, metric_unit
from mlipilot.evaluation.declaration import Group, Metric
from mlipilot.report.text import count, joined, mean_sd, metric_label, number
from mlipilot.report.view import Cost, EffectView, IterationView, LineageView, RevisionView

SYMBOLS = {"accepted": "✓", "reverted": "↺", "invalid": "✗", "no proposal": "–", "running": "…"}
"""A sign for each status, so that none is told by colour alone."""

NOT_GRADED = "not graded"

_NONE = Errors(sealed=None, test=None)
_ROUNDING = 1e-6
"""Below this, in whatever unit, a metric is rounding noise, whose deviation says nothing."""
_ARROWS = {"decrease": "↓", "increase": "↑", "unchanged": "→"}


@dataclass(frozen=True)
class GateCell:
    """What a gate says of one candidate."""

    text: str
    """Mean ± standard deviation over seeds, or "failed"."""
    passed: bool | None
    """None where the candidate was not measured."""
    note: str = ""
    """Why there is no value, or none that counts, and on how many seeds the gate fails."""


@dataclass(frozen=True)
class GateRow:
    """One gate, before and after."""

    metric: str
    label: str
    unit: str
    bound: str
    why: str
    baseline: GateCell
    incumbent: GateCell


@dataclass(frozen=True)
class EffectRow:
    """What a hypothesis expected of one metric, and what came of it: means over seeds."""

    label: str
    unit: str
    expected: str
    """The direction, with an arrow."""
    before: str
    after: str
    grade: str
    """held, refuted, unclear or not graded."""


@dataclass(frozen=True)
class CostRow:
    """What one iteration cost."""

    what: str
    cpu: str
    gpu: str
    wall: str
    jobs: int
    tokens: str


@dataclass(frozen=True)
class SealedRow:
    """An error metric on data that no verdict has used, beside the test split."""

    metric: str
    label: str
    unit: str
    baseline_test: str
    baseline_sealed: str
    incumbent_test: str
    incumbent_sealed: str


@dataclass(frozen=True)
class MetricRow:
    """One metric of one candidate, seed by seed."""

    metric: str
    label: str
    unit: str
    values_by_seed: list[str]
    """By seed, in the order of the campaign's seeds."""
    summary: str
    reason: str


def gate_rows(view: LineageView) -> list[GateRow]:
    """Every gate with the baseline's and the incumbent's values."""
    return [
        GateRow(
            metric=gate.metric,
            label=metric_label(gate.metric),
            unit=metric_unit(gate.metric),
            bound=gate.text,
            why=gate.why,
            baseline=gate_cell(view.baseline, index),
            incumbent=gate_cell(view.incumbent, index),
        )
        for index, gate in enumerate(view.gates)
    ]


def gate_cell(iteration: IterationView | None, index: int) -> GateCell:
    """Gate `index` of the scorecard applied to a candidate: it passes if every seed passes."""
    results = iteration.gate_results(index) if iteration is not None else []
    if iteration is None or not results:
        return GateCell("—", None)
    failed = [result for result in results if not result.passed]
    values = [result.value for result in results if result.value is not None]
    notes = [result.reason for result in failed if result.reason][:1]
    if failed and len(results) > 1 and len(failed) < len(results):
        notes.append(f"fails on {len(failed)} of {len(results)} seeds")
    if len(results) < len(iteration.seeds):
        notes.append(f"{len(results)} of {len(iteration.seeds)} seeds measured")
    text = mean_sd(values) if values else "failed"
    if values and max(map(abs, values)) < _ROUNDING:
        text = number(mean(values), 2)
    complete = len(results) == len(iteration.seeds)
    return GateCell(text, not failed if complete or failed else None, "; ".join(notes))


def objective_text(iteration: IterationView) -> str:
    """The objective with its spread over seeds."""
    return "—" if iteration.objective is None else mean_sd(iteration.objectives)


def effect_rows(iteration: IterationView) -> list[EffectRow]:
    """What the hypothesis expected, effect by effect."""
    return [
        EffectRow(
            label=metric_label(effect.metric),
            unit=metric_unit(effect.metric),
            expected=f"{_ARROWS.get(effect.direction, '')} {effect.direction}",
            before=number(effect.before),
            after=number(effect.after),
            grade=effect.grade or NOT_GRADED,
        )
        for effect in iteration.effects
    ]


def effects_text(effects: list[EffectView]) -> str:
    """How many expectations held, were refuted, stayed unclear: "2 held, 1 refuted"."""
    grades = [effect.grade or NOT_GRADED for effect in effects]
    return ", ".join(f"{grades.count(grade)} {grade}" for grade in dict.fromkeys(sorted(grades)))


def revision_lines(iteration: IterationView) -> list[str]:
    """What became of each draft: "Revision 1 failed its smoke step (5.9 s of CPU time): …"."""
    return [_revision_line(revision) for revision in iteration.revisions]


def _revision_line(revision: RevisionView) -> str:
    cost = f"({revision.smoke_cpu_s:.1f} s of CPU time)"
    said = []
    if revision.objection is not None:
        said.append(f"met an objection: {revision.objection}" if revision.objection else "was agreed to")
    if revision.smoke == "ok":
        said.append(f"passed its smoke step {cost}")
    elif revision.smoke is not None:
        word = "did not finish" if revision.smoke in NO_RESULT else "failed"
        said.append(f"{word} its smoke step {cost}: {revision.smoke_reason}")
    return f"Revision {revision.number} {'; '.join(said) or 'was submitted'}"


def cost_rows(view: LineageView) -> list[CostRow]:
    """What each iteration, the endpoint's probe, the sealed check and all of it cost."""
    named = [(f"iteration {i.number}" if i.number else "baseline", i.cost) for i in view.iterations]
    if view.probe_cost.exchanges:
        named.append(("probe of the endpoint", view.probe_cost))
    if view.pending_cost.exchanges:
        named.append(("turn under way", view.pending_cost))
    if view.confirmation_cost.jobs:
        named.append(("confirmation", view.confirmation_cost))
    if view.sealed_cost.jobs:
        named.append(("sealed check", view.sealed_cost))
    return [_cost_row(what, cost) for what, cost in [*named, ("total", view.total_cost)]]


def _cost_row(what: str, cost: Cost) -> CostRow:
    def seconds(value: float) -> str:
        return f"{value:.1f}" if value < 1000 else f"{value:.0f}"

    tokens = f"{cost.prompt_tokens:,} + {cost.completion_tokens:,}".replace(",", "\u202f")
    if cost.usd:
        tokens += f" ({cost.usd:.2f} US$)"
    return CostRow(
        what,
        seconds(cost.cpu_s) + (f" ({cost.cpu_unknown} unknown)" if cost.cpu_unknown else ""),
        seconds(cost.gpu_s),
        seconds(cost.wall_s),
        cost.jobs,
        tokens if cost.exchanges else "—",
    )


def busy_notes(view: LineageView) -> list[str]:
    """In which evaluations what was timed had to share its core; none where it had one to itself."""
    told = [(group, metric) for group in GROUPS for metric in group.metrics if metric.idle_above is not None]
    return [said for group, metric in told if (said := _busy_note(view, group, metric))]


def _busy_note(view: LineageView, group: Group, metric: Metric) -> str:
    idle = metric.idle_above or 0.0
    shares = [x for one in (*view.iterations, *view.fresh.values()) for x in one.values(metric.name)]
    busy = [share for share in shares if share < idle]
    if not busy:
        return ""
    timed = joined([one.label for one in group.metrics if one.of_the_machine and one.better != "none"])
    return (
        f"Timed on a busy allocation in {len(busy)} of {count(len(shares), 'evaluation')}, where the thread "
        f"had a core for less than {100 * idle:.0f} % of the time, in the worst for {100 * min(busy):.0f} %: "
        f"{timed} say as much of what else ran there."
    )


def elapsed_s(view: LineageView) -> float:
    """Seconds from the ledger's first to its last record, pauses included."""
    last = view.state.last_time
    return spending.elapsed_s(view.state, datetime.fromisoformat(last) if last else None)


def sealed_rows(view: LineageView) -> list[SealedRow]:
    """The sealed check beside the test split; none before it was made."""
    check = view.state.sealed_check or SealedCheck({})
    baseline, incumbent = check.of(0), check.of(view.state.incumbent)
    found = []
    for name in [name for name in CATALOG if name in baseline or name in incumbent]:
        if name in EXAM:  # measured once, on neither split
            continue
        errors = [check.get(name, _NONE) for check in (baseline, incumbent)]
        values = [number(value) for one in errors for value in (one.test, one.sealed)]
        found.append(SealedRow(name, metric_label(name), metric_unit(name), *values))
    return found


def sealed_headline(view: LineageView) -> SealedRow | None:
    """The sealed check's word on the metric that stands for all; None before it was made."""
    return next((row for row in sealed_rows(view) if CATALOG[row.metric].headline), None)


def metric_rows(iteration: IterationView) -> list[MetricRow]:
    """Every metric of a candidate by seed; failures with their reasons."""
    found = {name for seed in iteration.seeds for name in seed.metrics}
    rows = []
    for name in [known for known in CATALOG if known in found]:
        entries = [seed.metrics.get(name) for seed in iteration.seeds]
        values = [entry.value if entry else None for entry in entries]
        reasons = [entry.reason for entry in entries if entry and entry.reason]
        rows.append(
            MetricRow(
                metric=name,
                label=metric_label(name),
                unit=metric_unit(name),
                values_by_seed=[
                    "not measured" if entry is None else "failed" if entry.value is None else number(value)
                    for entry, value in zip(entries, values, strict=True)
                ],
                summary=mean_sd([value for value in values if value is not None]),
                reason="; ".join(dict.fromkeys(reasons)),
            )
        )
    return rows
