"""From a pilot's turn to a candidate on disk: what it submits is a draft, and a draft that holds is tried."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from mlipilot.audit.files import tree_digest
from mlipilot.audit.ledger import Ledger
from mlipilot.campaign.spec import CampaignSpec
from mlipilot.controller.briefing import Briefing
from mlipilot.controller.candidates import drop_leftovers, publish_candidate, publish_draft
from mlipilot.controller.memory import LedgerMemory
from mlipilot.controller.prepare import copy_recipe
from mlipilot.controller.recording import Recording, heard_now
from mlipilot.controller.spending import Metered, check_calls
from mlipilot.controller.state import State
from mlipilot.controller.transcript import Transcript
from mlipilot.endpoint.client import Endpoint
from mlipilot.endpoint.exchange import BudgetSpentError
from mlipilot.errors import PausedError
from mlipilot.paths import LineagePaths, RunPaths
from mlipilot.pilots import open_pilot
from mlipilot.pilots.sampling import Search
from mlipilot.pilots.search import hold_numbers
from mlipilot.pilots.turn import GaveUp, NoProposal, Outcome, Proposal, take_turn


class Proposals:
    """Asks the pilot and publishes what it submits."""

    def __init__(
        self,
        run: RunPaths,
        lineage: LineagePaths,
        spec: CampaignSpec,
        ledger: Ledger,
        briefing: Briefing,
        transcript: Transcript,
        resources: ExitStack,
        recording: Recording | None = None,
    ) -> None:
        self.run, self.lineage, self.spec, self.ledger = run, lineage, spec, ledger
        self.briefing, self.transcript, self.resources = briefing, transcript, resources
        self.recording = recording
        self._endpoint: Endpoint | None = None

    def propose_baseline(self) -> None:
        """Publish the starting recipe as iteration 0."""
        body = publish_candidate(self.lineage.iteration(0), self.run.recipe, self.run.recipe, None)
        self.ledger.append("proposed", {"iteration": 0} | body)

    def ask(self, iteration: int, state: State) -> str:
        """One turn of the pilot; returns what came of it. Raises PausedError when it cannot be had."""
        if state.incumbent is None:
            raise AssertionError("a pilot is asked only when there is an incumbent")
        start = incumbent = self.lineage.recipe(state.incumbent)
        revision = 1
        if iteration < len(state.iterations):  # a draft of it came back
            revision += len(state.iterations[iteration].drafts)
            start = self.lineage.revision(iteration, revision - 1) / "recipe"
        final = self.lineage.revision(iteration, revision)
        self.ledger.fence()
        drop_leftovers(final)
        outcome: Outcome
        try:
            outcome = self._turn(iteration, revision, state, start, incumbent)
        except BudgetSpentError as spent:
            outcome = NoProposal(str(spent))
        match outcome:
            case Proposal(hypothesis):
                stated = hypothesis.model_dump(mode="json")
                self.ledger.fence()  # a turn takes long; what lies there may be another controller's by now
                body = publish_draft(final, self.lineage.draft, incumbent, stated)
                self.ledger.append("drafted", {"iteration": iteration, "revision": revision} | body)
                said = f"revision {revision}: {hypothesis.title}"
            case GaveUp(reason) if revision == 1:
                self.ledger.append("gave_up", {"iteration": iteration, "reason": reason})
                said = f"the pilot gave up: {reason}"
            case GaveUp(reason):
                said = self.drop(iteration, f"revision {revision - 1} was withdrawn: {reason}")
            case NoProposal(reason):
                said = self.drop(iteration, reason)
        shutil.rmtree(self.lineage.draft, ignore_errors=True)
        return said

    def _turn(self, iteration: int, revision: int, state: State, start: Path, incumbent: Path) -> Outcome:
        """What the pilot makes of the recipe in `start`. Raises PausedError, BudgetSpentError."""
        search = self.briefing.search()
        endpoint = self._opened(iteration, revision, search)
        heard = heard_now(self.briefing, self.ledger, self.recording, "researcher", iteration, revision)
        self.ledger.fence()  # opening may take long
        copy_recipe(start, self.lineage.draft)
        turn = replace(
            self.briefing.turn(iteration, state, self.lineage.draft, incumbent, heard),
            context_tokens=endpoint.context_tokens,
            reply_tokens=endpoint.reply_tokens,
        )
        if search is not None and search.kind == "hybrid":
            turn = hold_numbers(turn, search)
        record = partial(self.transcript.record, iteration, "researcher")
        return take_turn(Metered(endpoint, self.ledger, self.spec.budget), turn, record)

    def _opened(self, iteration: int, revision: int, search: Search | None) -> Endpoint:
        """Whoever answers in this turn. Raises as `open_pilot`, or `Recording.endpoint`, does.

        Raises BudgetSpentError before anything is opened: that may ask the endpoint something.
        """
        check_calls(self.ledger, self.spec.budget)
        if self.recording is not None:
            return self.recording.endpoint("researcher", iteration, revision)
        if self._endpoint is None:
            opened = open_pilot(
                self.spec.pilot, self.run.endpoint, LedgerMemory(self.ledger, self.spec.pilot), search
            )
            self._endpoint = self.resources.enter_context(opened)
        return self._endpoint

    def accept(self, iteration: int, revision: int, state: State) -> str:
        """Make a draft the iteration's candidate. Raises PausedError when its files are not as recorded."""
        if state.incumbent is None:
            raise AssertionError("a draft is accepted only when there is an incumbent")
        draft = state.iterations[iteration].drafts[revision - 1]
        recipe = self.lineage.revision(iteration, revision) / "recipe"
        if tree_digest(recipe) != draft.recipe_digest:
            raise PausedError(
                f"{recipe} is not as it was recorded; restore it and resume, or begin a new run"
            )
        self.ledger.fence()
        before = self.lineage.recipe(state.incumbent)
        body = publish_candidate(self.lineage.iteration(iteration), recipe, before, draft.hypothesis)
        self.ledger.append("proposed", {"iteration": iteration, "revision": revision} | body)
        return f"hypothesis: {body['title']}"

    def drop(self, iteration: int, reason: str) -> str:
        """End an iteration without a candidate."""
        self.ledger.fence()
        drop_leftovers(self.lineage.iteration(iteration))
        self.ledger.append("no_proposal", {"iteration": iteration, "reason": reason})
        return f"no proposal: {reason}"
