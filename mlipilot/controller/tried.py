"""Which recipes were tried in a run, by any lineage, so that none is tried twice."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from mlipilot.audit.ledger import LedgerError, read_open_ledger
from mlipilot.campaign.paths import LineagePaths, RunPaths
from mlipilot.controller.state import Iteration, State, replay
from mlipilot.pilots.novelty import recipe_identity


class TriedRecipes:
    """What became of every recipe, in the words of its verdict.

    `everywhere`: also in the lineages beside this one, whose ledgers are only read and may be written
    meanwhile. A pilot that cannot be told (a search, the scripted one) has its own lineage alone: there
    lineages repeat each other on purpose, with other seeds.
    """

    def __init__(self, run: RunPaths, lineage: LineagePaths, *, everywhere: bool) -> None:
        self.run, self.lineage, self.everywhere = run, lineage, everywhere
        self._identities: dict[Path, str] = {}  # a published recipe never changes

    def by_digest(self, state: State) -> dict[str, str]:
        """The mapping that `TurnInput.tried` describes. `state` is that of this lineage."""
        found: dict[str, str] = {}
        for other in self.run.lineages() if self.everywhere else []:
            if other.number != self.lineage.number:
                with suppress(LedgerError, OSError):  # `verify` names it; our work does not hang on it
                    records, _ = read_open_ledger(other.ledger)
                    found |= self._of_lineage(other, replay(records), f" of lineage {other.number}")
        return found | self._of_lineage(self.lineage, state, "")

    def _of_lineage(self, lineage: LineagePaths, state: State, whose: str) -> dict[str, str]:
        found = {}
        for iteration in state.iterations:
            name = f"iteration {iteration.number}{whose}"
            for draft in iteration.drafts:
                smoke = state.smoke(iteration.number, draft.revision)
                if smoke is not None and smoke.ended and smoke.outcome in ("failed", "time_limit"):
                    said = f"its smoke step failed: {smoke.ended['reason']}"
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
    return f"{iteration.verdict['verdict']}: {iteration.verdict['reason']}"
