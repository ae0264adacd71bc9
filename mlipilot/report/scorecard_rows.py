"""The scorecard beside its gates: the objective's terms, what they come to, and of what the numbers are."""

from __future__ import annotations

from dataclasses import dataclass

from mlipilot.evaluation.catalog import metric_unit
from mlipilot.report.rows import gate_rows, objective_text
from mlipilot.report.text import joined, mean_sd, metric_label, number
from mlipilot.report.view import IterationView, LineageView


@dataclass(frozen=True)
class TermRow:
    """One factor of the objective, (value / scale) to the power of its share, before and after."""

    metric: str
    label: str
    unit: str
    scale: str
    floor: str
    """What is below counts as this."""
    share: str
    """Of all weights."""
    baseline: str
    incumbent: str


def term_rows(view: LineageView) -> list[TermRow]:
    """Every term of the objective with the baseline's and the incumbent's values."""
    terms = view.card.objective.terms
    total = sum(term.weight for term in terms)
    return [
        TermRow(
            metric=term.metric,
            label=metric_label(term.metric),
            unit=metric_unit(term.metric),
            scale=number(term.scale),
            floor=number(term.floor),
            share=number(term.weight / total, 2),
            baseline=values_text(view.baseline, term.metric),
            incumbent=values_text(view.incumbent, term.metric),
        )
        for term in terms
    ]


def values_text(iteration: IterationView | None, metric: str) -> str:
    """A metric of a candidate, mean ± standard deviation over seeds, and how many seeds lack it."""
    values = iteration.values(metric) if iteration is not None else []
    if iteration is None or not values:
        return "—"
    lacking = len(iteration.seeds) - len(values)
    return mean_sd(values) + (f" ({len(values)} of {len(iteration.seeds)} seeds)" if lacking else "")


def totals(view: LineageView) -> dict[str, dict[str, str]]:
    """What gates and objective come to for baseline and incumbent: the last lines of the two tables."""
    both = {"baseline": view.baseline, "incumbent": view.incumbent}
    passed = {who: view.gates_passed(one) for who, one in both.items()}
    return {
        "gates": {"label": "gates passed"}
        | {who: "—" if n is None else f"{n} of {len(view.gates)}" for who, n in passed.items()},
        "objective": {"label": "objective"}
        | {who: objective_text(one) if one else "—" for who, one in both.items()},
    }


def spread_note(view: LineageView) -> str:
    """Of which seeds the scorecard's numbers are."""
    seeds = [str(seed.seed) for seed in view.baseline.seeds] if view.baseline else []
    if len(seeds) == 1:
        return f"One training seed ({seeds[0]}): the noise is not known."
    return (
        f"Mean ± sample standard deviation over the {'fresh ' if view.fresh else ''}training seeds "
        f"{joined(seeds)}. "
        "A gate holds (✓) only if it holds on every seed."
    )


def gate_notes(view: LineageView) -> list[str]:
    """Why a gated metric has no value, or on which share of the seeds it fails."""
    notes = []
    for row in gate_rows(view):
        cells = [("baseline", row.baseline)] + ([("incumbent", row.incumbent)] if view.improved else [])
        notes += [f"{row.label}, {who}: {cell.note}" for who, cell in cells if cell.note]
    return notes
