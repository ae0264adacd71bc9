"""From a pilot's turn to a candidate on disk: what it submits is a draft, and a draft that holds is tried."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from mlipilot.audit.events import body_of, proposing
from mlipilot.audit.ledger import Ledger, of_kind
from mlipilot.campaign.spec import CampaignSpec
from mlipilot.controller.briefing import Briefing
from mlipilot.controller.candidates import publish_baseline, publish_candidate, publish_draft
from mlipilot.controller.endpoint_memory import LedgerMemory
from mlipilot.controller.publishing import copy_recipe, drop_leftovers
from mlipilot.controller.recording import Recording, heard_now
from mlipilot.controller.spending import Metered, check_calls
from mlipilot.controller.state import State
from mlipilot.controller.transcript import Transcript
from mlipilot.endpoint.client import Endpoint
from mlipilot.endpoint.exchange import BudgetSpentError
from mlipilot.paths import LineagePaths, RunPaths
from mlipilot.pilots import open_pilot
from mlipilot.pilots.history_told import Room
from mlipilot.pilots.outcomes import GaveUp, NoProposal, Outcome, Proposal, Proposer, TurnInput
from mlipilot.pilots.pilot_settings import LANGUAGE_MODELS
from mlipilot.pilots.recipe_bounds import recipe_excess
from mlipilot.pilots.recorded import held_to
from mlipilot.pilots.search import hold_numbers, propose
from mlipilot.pilots.turn import take_turn


@dataclass(eq=False)
class Proposals:
    """Asks the pilot and publishes what it submits."""

    run: RunPaths
    lineage: LineagePaths
    spec: CampaignSpec
    ledger: Ledger
    briefing: Briefing
    transcript: Transcript
    resources: ExitStack
    recording: Recording | None = None
    _endpoint: Endpoint | None = field(default=None, init=False)

    def propose_baseline(self) -> None:
        """Publish the starting recipe as iteration 0."""
        body = publish_baseline(self.lineage.iteration(0), self.run.recipe)
        self.ledger.append(proposing.Proposed(iteration=0, **body))

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
                # Again, of what is published: on local processes other code can reach the draft.
                if (excess := recipe_excess(final / "recipe", self.run.recipe)) is not None:
                    drop_leftovers(final)
                    said = self.drop(iteration, f"revision {revision} is too much: {excess}")
                else:
                    self.ledger.append(proposing.Drafted(iteration=iteration, revision=revision, **body))
                    said = f"revision {revision}: {hypothesis.title}"
            case GaveUp(reason) if revision == 1:
                self.ledger.append(proposing.GaveUp(iteration=iteration, reason=reason))
                said = f"the pilot gave up: {reason}"
            case GaveUp(reason):
                said = self.drop(iteration, f"revision {revision - 1} was withdrawn: {reason}")
            case NoProposal(reason):
                said = self.drop(iteration, reason)
        shutil.rmtree(self.lineage.draft, ignore_errors=True)
        return said

    def _turn(self, iteration: int, revision: int, state: State, start: Path, incumbent: Path) -> Outcome:
        """What the pilot makes of the recipe in `start`. Raises PausedError, BudgetSpentError."""
        proposer = self._proposer(iteration, revision)
        heard = heard_now(self.briefing, self.ledger, self.recording, "researcher", iteration, revision)
        self.ledger.fence()  # opening may take long
        copy_recipe(start, self.lineage.draft)
        return proposer(self.briefing.turn(iteration, state, self.lineage.draft, incumbent, heard))

    def _proposer(self, iteration: int, revision: int) -> Proposer[TurnInput]:
        """Who proposes in this turn. Raises as `open_pilot`, or `Recording.turn`, does.

        Raises BudgetSpentError before anything is opened: that may ask the endpoint something.
        """
        check_calls(self.ledger, self.spec.budget)
        search = self.briefing.search()
        if search is not None and search.kind not in LANGUAGE_MODELS:
            if self.recording is None:
                return partial(propose, search)
            recorded = self.recording.turn("researcher", iteration, revision)
            if not (recorded.exchanges or recorded.spent):  # earlier versions had a search speak as models do
                return held_to(recorded, partial(propose, search))
        if self.recording is not None:
            endpoint = self.recording.endpoint("researcher", iteration, revision)
        else:
            endpoint = self._opened()
        metered = Metered(endpoint, self.ledger, self.spec.budget)
        room = Room(endpoint.context_tokens, endpoint.reply_tokens)
        record = partial(self.transcript.record, iteration, "researcher")
        converse = partial(take_turn, metered, room=room, record=record)
        if search is not None and search.kind == "hybrid":
            return lambda turn: converse(hold_numbers(turn, search))
        return converse

    def _opened(self) -> Endpoint:
        """The pilot's endpoint, opened once a session. Raises as `open_pilot` does."""
        if self._endpoint is None:
            opened = open_pilot(
                self.spec.pilot, self.run.endpoint, LedgerMemory(self.ledger, self.spec.pilot)
            )
            self._endpoint = self.resources.enter_context(opened)
        return self._endpoint

    def accept(self, iteration: int, revision: int) -> str:
        """Make the newest draft its iteration's candidate. Raises PausedError as `publish_candidate` does."""
        drafted = next(event for _, event in of_kind(reversed(self.ledger.records), proposing.Drafted))
        self.ledger.fence()
        draft = self.lineage.revision(iteration, revision)
        body = publish_candidate(self.lineage.iteration(iteration), draft, body_of(drafted))
        self.ledger.append(proposing.Proposed(iteration=iteration, revision=revision, **body))
        return f"hypothesis: {drafted.title}"

    def drop(self, iteration: int, reason: str) -> str:
        """End an iteration without a candidate."""
        self.ledger.fence()
        drop_leftovers(self.lineage.iteration(iteration))
        self.ledger.append(proposing.NoProposal(iteration=iteration, reason=reason))
        return f"no proposal: {reason}"
