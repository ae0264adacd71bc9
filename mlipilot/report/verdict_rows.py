"""How many hypotheses of each pilot were kept, and what fresh seeds said of those."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlipilot.report.ranking import RunView, by_pilot
from mlipilot.report.summary import pilot_name
from mlipilot.report.text import joined
from mlipilot.report.view import LineageView


@dataclass(frozen=True)
class VerdictsRow:
    """The verdicts on one pilot's hypotheses, all of its lineages together."""

    pilot: str
    lineages: str
    tried: int
    accepted: int
    reverted: int
    invalid: int
    no_proposal: int
    confirmed: str
    """Of those accepted, by fresh seeds, each by itself."""


def verdict_rows(run: RunView) -> list[VerdictsRow]:
    """A row a pilot, in the order of their first lineages."""
    return [_row(views) for views in by_pilot(run.lineages)]


def _row(views: Sequence[LineageView]) -> VerdictsRow:
    found = [iteration.status for view in views for iteration in view.iterations[1:]]
    asked = [len(view.state.confirmed.steps) for view in views if view.state.confirmed is not None]
    confirmed = sum(len(view.confirmed_steps) for view in views)
    return VerdictsRow(
        pilot=pilot_name(views[0]),
        lineages=f"lineage{'s' if len(views) > 1 else ''} {joined([str(v.lineage.number) for v in views])}",
        tried=len(found),
        accepted=found.count("accepted"),
        reverted=found.count("reverted"),
        invalid=found.count("invalid"),
        no_proposal=found.count("no proposal"),
        confirmed=f"{confirmed} of {sum(asked)}" if asked else "—",
    )
