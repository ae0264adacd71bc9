"""The history of a lineage's iterations, a line each: the page, the text and the terminal draw the same."""

from __future__ import annotations

from dataclasses import dataclass

from mlipilot.report.confirmation_rows import standing
from mlipilot.report.rows import effects_text, objective_text
from mlipilot.report.text import mean_sd, number, signed
from mlipilot.report.view import IterationView, LineageView
from mlipilot.untrusted import clip

_MAX_REASON = 160


@dataclass(frozen=True)
class IterationRow:
    """One iteration in a line."""

    number: int
    title: str
    status: str
    gain: str
    """Over the incumbent, ln units."""
    needed: str
    """What the gain had to exceed."""
    objective: str
    violation: str
    effects: str
    reason: str
    """In short; the whole stands beside the hypothesis."""
    is_incumbent: bool
    standing: str
    """Of a kept one: provisional, or what fresh seeds said of it."""


def iteration_rows(view: LineageView) -> list[IterationRow]:
    """Every iteration in a line, the baseline first."""
    return [
        IterationRow(
            number=iteration.number,
            title=iteration.title,
            status=iteration.status,
            gain="—" if iteration.gain is None else signed(iteration.gain, 2),
            needed="" if iteration.threshold is None else f"needed > {number(iteration.threshold, 2)}",
            objective=objective_text(iteration),
            violation=mean_sd(iteration.violations) if iteration.violations else "—",
            effects=effects_text(iteration.effects),
            reason=in_short(iteration),
            is_incumbent=iteration.number == view.state.incumbent,
            standing=standing(view, iteration.number),
        )
        for iteration in view.iterations
    ]


def in_short(iteration: IterationView) -> str:
    """Why a candidate was kept or not, in a few words: of a gain what its figures mean, else the reason."""
    if iteration.number == 0 and iteration.status == "accepted":
        return ""
    if iteration.gain is None or iteration.threshold is None:
        return clip(iteration.reason, _MAX_REASON)
    if iteration.gain <= 0:
        return f"no lower {iteration.measure}"
    enough = "more than needed" if iteration.status == "accepted" else "too little to count"
    return f"lower {iteration.measure}, by {enough}"
