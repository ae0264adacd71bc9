"""Which recipes were tried in a run, by any lineage, so that none is tried twice."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from mlipilot.audit.ledger import LedgerError, read_open_ledger
from mlipilot.controller.other_lineages import Heard
from mlipilot.controller.state import Iteration, State, replay
from mlipilot.paths import LineagePaths
from mlipilot.pilots.recipe_identity import recipe_identity


class TriedRecipes:
    """What became of every recipe, in the words of its verdict.

    A pilot that cannot be told of other lineages (a search, the scripted one) has its own alone: there
    lineages repeat each other on purpose, with other seeds.
    """

    def __init__(self, lineage: LineagePaths) -> None:
        self.lineage = lineage
        self._identities: dict[Path, str] = {}  # a published recipe never changes

    def by_digest(self, state: State, heard: Heard | None = None) -> dict[str, str]:
        """The mapping that `TurnInput.tried` describes: of this lineage, and of others as far as `heard`."""
        found = {} if heard is None else self._of_others(heard)
        return found | self._of_lineage(self.lineage, state, "")

    def _of_others(self, heard: Heard) -> dict[str, str]:
        found: dict[str, str] = {}
        for number, count in heard.records.items():
            other = heard.run.lineage(number)
            with suppress(LedgerError, OSError):  # `verify` names it; our work does not hang on it
                records, _ = read_open_ledger(other.ledger)
                found |= self._of_lineage(other, replay(records[:count]), f" of lineage {number}")
        return found

    def _of_lineage(self, lineage: LineagePaths, state: State, whose: str) -> dict[str, str]:
        found = {}
        for iteration in state.iterations:
            name = f"iteration {iteration.number}{whose}"
            for draft in iteration.drafts:
                smoke = state.smoke(iteration.number, draft.revision)
                if smoke is not None and smoke.ended and smoke.outcome in ("failed", "time_limit"):
                    said = f"its smoke step failed: {smoke.ended.reason}"
                    found[draft.recipe_digest] = f"revision {draft.revision} of {name}, {said}"
            if iteration.proposed:
                found[self._identity(lineage.recipe(iteration.number))] = f"{name}, {_fate(iteration)}"
        return found

    def _identity(self, recipe: Path) -> str:
        if recipe not in self._identities:
            self._identities[recipe] = recipe_identity(recipe)
        return self._identities[recipe]


def _fate(iteration: Iteration) -> str:
    if iteration.verdict is None:
        return "no verdict yet"
    return f"{iteration.verdict.verdict}: {iteration.verdict.reason}"
