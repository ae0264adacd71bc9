"""All lineages of a run beside one another, in the order of the accept rule."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from mlipilot.audit.ledger import LedgerError
from mlipilot.controller.accept import Judgement, judge, order
from mlipilot.controller.verification import wrong_records
from mlipilot.evaluation.scorecard import Score
from mlipilot.paths import RunPaths
from mlipilot.report.lineage_reading import load_lineage
from mlipilot.report.view import LineageView


@dataclass(frozen=True)
class RunView:
    """The lineages of a run by number, at least one, and those whose ledger is broken."""

    lineages: list[LineageView]
    broken: dict[int, LedgerError] = field(default_factory=dict)

    @property
    def several(self) -> bool:
        """Whether there is anything to compare."""
        return len(self.lineages) + len(self.broken) > 1

    @property
    def ranked(self) -> list[LineageView]:
        """The lineages whose incumbent is measured, the best first; of equal ones the lower number."""
        measured = [view for view in self.lineages if incumbent_scores(view)]
        return sorted(measured, key=lambda view: (not view.feasible, order(incumbent_scores(view))))

    @property
    def best(self) -> LineageView | None:
        """The first by the accept rule's order."""
        return next(iter(self.ranked), None)

    def find(self, number: int) -> LineageView:
        """Lineage `number`, which has begun. Raises LedgerError when its ledger is broken."""
        if number in self.broken:
            raise self.broken[number]
        return next(view for view in self.lineages if view.lineage.number == number)


def load_run(run: RunPaths) -> RunView:
    """Every lineage that has begun, however far it has come; wrong verdicts are among its `problems`.

    Raises InputError when `run` is no run, LedgerError when no lineage has an unbroken ledger.
    """
    views, broken = [], {}
    for lineage in run.lineages() or [run.lineage(0)]:
        try:
            view = load_lineage(run, lineage)
        except LedgerError as error:
            broken[lineage.number] = error
            continue
        view.problems.extend(wrong_records(run, lineage))
        views.append(view)
    if not views:
        raise next(iter(broken.values()))
    return RunView(views, broken)


def by_pilot(views: Sequence[LineageView]) -> list[list[LineageView]]:
    """The lineages of each pilot, pilots in the order of their first; by settings, as names may be alike."""
    pilots: defaultdict[str, list[LineageView]] = defaultdict(list)
    for view in views:
        pilots[view.spec.pilot.model_dump_json()].append(view)
    return list(pilots.values())


def incumbent_scores(view: LineageView) -> list[Score]:
    """What the scorecard says of a lineage's incumbent, a score a seed; empty unless all are measured."""
    return view.incumbent.scores if view.incumbent is not None and view.incumbent.measured else []


def compare(better: LineageView, other: LineageView) -> Judgement:
    """The accept rule's word on two ranked lineages: accepted where `better` is ahead beyond the noise."""
    return judge(better.card.accept, incumbent_scores(other), incumbent_scores(better))
