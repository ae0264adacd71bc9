"""The roles beside the researcher, asked where a step calls for them: a reviewer and an analyst."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from mlipilot.audit.events.proposing import Lesson, Reviewed
from mlipilot.audit.ledger import Ledger
from mlipilot.campaign.spec import CampaignSpec
from mlipilot.controller.briefing import Briefing
from mlipilot.controller.endpoint_memory import LedgerMemory
from mlipilot.controller.findings import share_lessons
from mlipilot.controller.recording import Recording, heard_now
from mlipilot.controller.spending import Metered, check_calls
from mlipilot.controller.state import State
from mlipilot.controller.transcript import Transcript
from mlipilot.endpoint.client import Endpoint
from mlipilot.endpoint.exchange import BudgetSpentError
from mlipilot.endpoint.opening import open_endpoint
from mlipilot.paths import LineagePaths, RunPaths
from mlipilot.pilots.history_told import Room
from mlipilot.pilots.pilot_settings import Role
from mlipilot.pilots.roles.analyst import LessonInput, draw_lesson
from mlipilot.pilots.roles.reviewer import Review, ReviewInput, review


@dataclass(eq=False)
class Colleagues:
    """Asks the roles of one lineage and writes down what they say."""

    run: RunPaths
    lineage: LineagePaths
    spec: CampaignSpec
    ledger: Ledger
    briefing: Briefing
    transcript: Transcript
    recording: Recording | None = None
    _endpoints: dict[Role, Endpoint] = field(default_factory=dict, init=False)

    def review(self, iteration: int, revision: int, state: State) -> str:
        """Have a draft looked at; returns what came of it. Raises PausedError."""
        try:
            found = self._reviewed(iteration, revision, state)
        except BudgetSpentError as spent:
            found = Review(True, f"the reviewer was not asked: {spent}")
        said = Reviewed(iteration=iteration, revision=revision, approved=found.approved, text=found.text)
        self.ledger.append(said)
        return f"the reviewer {'agrees' if found.approved else 'objects'}: {found.text}"

    def _reviewed(self, iteration: int, revision: int, state: State) -> Review:
        entry = state.iterations[iteration]
        reviewer = self._endpoint("reviewer", iteration, revision)
        draft = ReviewInput(
            hypothesis=entry.drafts[revision - 1].hypothesis.model_dump(),
            diff=self.briefing.diff(entry),
            history=self.briefing.history(state),
            max_steps=self.spec.budget.optimizer_steps,
            room=Room(reviewer.context_tokens, reviewer.reply_tokens),
            held=list(self.spec.space) if self.spec.pilot.kind == "hybrid" else (),
        )
        record = partial(self.transcript.record, iteration, "reviewer")
        return review(self._metered(reviewer), draft, record)

    def draw_lesson(self, iteration: int, state: State) -> str:
        """Turn a verdict into a lesson and share it; returns what came of it. Raises PausedError."""
        try:
            text = self._lesson(iteration, state) or ""
        except BudgetSpentError:
            text = ""
        self.ledger.append(Lesson(iteration=iteration, text=text))
        self.share_lessons()
        return f"lesson: {text}" if text else "no lesson"

    def _lesson(self, iteration: int, state: State) -> str | None:
        entry = state.iterations[iteration]
        revision = len(entry.drafts)
        analyst = self._endpoint("analyst", iteration, revision)
        heard = heard_now(self.briefing, self.ledger, self.recording, "analyst", iteration, revision)
        verdicts = [i.verdict for i in state.iterations[:iteration] if i.verdict is not None]
        incumbents = [verdict.incumbent for verdict in verdicts if verdict.incumbent is not None]
        judged = LessonInput(
            entry=self.briefing.entry(state, entry),
            before=self.briefing.mean_metrics(state, incumbents[-1]),
            lessons=self.briefing.lessons(heard),
            room=Room(analyst.context_tokens, analyst.reply_tokens),
        )
        record = partial(self.transcript.record, iteration, "analyst")
        return draw_lesson(self._metered(analyst), judged, record)

    def share_lessons(self) -> None:
        """Have every lesson of the ledger among the run's findings."""
        share_lessons(self.run, self.lineage.number, self.ledger.records)

    def _metered(self, endpoint: Endpoint) -> Metered:
        return Metered(endpoint, self.ledger, self.spec.budget)

    def _endpoint(self, role: Role, iteration: int, revision: int) -> Endpoint:
        """Who answers for a role. Raises BudgetSpentError: opening an endpoint may ask it something."""
        check_calls(self.ledger, self.spec.budget)
        if self.recording is not None:
            return self.recording.endpoint(role, iteration, revision)
        if role not in self._endpoints:
            settings = self.spec.pilot.endpoint_of(role)
            opened = open_endpoint(settings, self.run.endpoint, LedgerMemory(self.ledger, settings))
            self._endpoints[role] = opened
        return self._endpoints[role]
