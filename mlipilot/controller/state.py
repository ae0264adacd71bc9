"""A lineage's state: nothing but its ledger, replayed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from mlipilot.audit.events import Event
from mlipilot.audit.events.concluding import (
    Ablated,
    AblationAsked,
    ConfirmationAsked,
    Confirmed,
    Examined,
    SealedCheck,
)
from mlipilot.audit.events.proposing import (
    Claim,
    Drafted,
    EndpointProbed,
    Exchange,
    GaveUp,
    Lesson,
    NoProposal,
    Proposed,
    Reviewed,
)
from mlipilot.audit.events.running import (
    CampaignStarted,
    Cancelled,
    CandidateDropped,
    Finished,
    JobFinished,
    JobSubmitted,
    Outcome,
    Paused,
    Resumed,
    Verdict,
    Weighed,
)
from mlipilot.audit.ledger import LedgerError, Record
from mlipilot.endpoint.abilities import Abilities
from mlipilot.paths import JobKey

OWN_FAULTS = ("failed", "time_limit", "protected_changed")
"""Outcomes of a job that are the candidate's own fault."""
NOT_RUN = ("not_isolated", "not_storable")
"""Outcomes of a job that did not begin: the run pauses, and it is another attempt's turn after that."""
NO_RESULT = ("lost", "cancelled", *NOT_RUN)
"""Outcomes that say nothing of the candidate: `jobs.max_attempts` attempts, anew when a person resumes."""


@dataclass
class Attempt:
    """One submission of a job, and how it ended once it has."""

    number: int
    ended: JobFinished | None = None
    order_sha256: str | None = None
    """Of its order, where that is on record."""
    forgiven: bool = False  # without a result by the cluster's own fault, or before a person resumed
    since_before: bool = False  # in flight when a person last resumed

    @property
    def outcome(self) -> Outcome | None:
        """How the attempt ended, or None while it runs."""
        return None if self.ended is None else self.ended.outcome


@dataclass
class Iteration:
    """One candidate on its way from draft to verdict."""

    number: int
    title: str = ""
    hypothesis: Claim | None = None
    drafts: list[Drafted] = field(default_factory=list)
    """By revision, from 1."""
    reviews: dict[int, Reviewed] = field(default_factory=dict)
    """The reviewer's word, by revision."""
    recipe_digest: str | None = None
    no_proposal: str | None = None
    dropped: str | None = None
    """Why a person has given the candidate up."""
    weighed: Weighed | None = None
    """What its first seed said, where the others wait for that."""
    verdict: Verdict | None = None
    lesson: str | None = None
    """What the analyst made of the outcome; empty when that was nothing."""

    @property
    def proposed(self) -> bool:
        """Whether there is a recipe to train."""
        return self.recipe_digest is not None

    @property
    def sent_back(self) -> bool:
        """Whether the newest draft goes back for the reviewer's sake: only an iteration's first objection
        does that, a later one stays on record."""
        objected = [revision for revision, review in self.reviews.items() if not review.approved]
        return objected == [len(self.drafts)]

    @property
    def judged(self) -> bool:
        """Whether the iteration is over."""
        return self.verdict is not None or self.no_proposal is not None


@dataclass
class State:
    """All that the controller knows."""

    started: CampaignStarted | None = None
    iterations: list[Iteration] = field(default_factory=list)
    jobs: dict[JobKey, list[Attempt]] = field(default_factory=dict)
    incumbent: int | None = None
    gave_up: str | None = None
    asked: ConfirmationAsked | None = None
    """A person's wish, where the campaign had none."""
    confirmed: Confirmed | None = None
    sealed_check: SealedCheck | None = None
    examined: Examined | None = None
    ablation_asked: AblationAsked | None = None
    ablated: Ablated | None = None
    finished: str | None = None
    paused: str | None = None
    cancelled: bool = False
    endpoints: dict[tuple[str, str], Abilities] = field(default_factory=dict)
    """How endpoints have to be asked, by address and model."""
    exchanges: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    cpu_seconds: float = 0.0
    gpu_seconds: float = 0.0
    first_time: str | None = None
    last_time: str | None = None

    def last(self, key: JobKey) -> Attempt | None:
        """The newest attempt of a job."""
        attempts = self.jobs.get(key)
        return attempts[-1] if attempts else None

    def smoke_attempts(self, iteration: int, revision: int) -> list[Attempt]:
        """The attempts of a draft's smoke step."""
        key = ("smoke", iteration, revision)
        return next((a for k, a in self.jobs.items() if (k.kind, k.iteration, k.revision) == key), [])

    def smoke(self, iteration: int, revision: int) -> Attempt | None:
        """The newest of them."""
        attempts = self.smoke_attempts(iteration, revision)
        return attempts[-1] if attempts else None

    def in_flight(self) -> list[tuple[JobKey, Attempt]]:
        """Submitted attempts whose end is not in the ledger yet."""
        return [(key, a) for key, attempts in self.jobs.items() for a in attempts if a.ended is None]

    @property
    def phase(self) -> str:
        """One word for status lines, as far as the ledger knows."""
        if self.finished is not None:
            return "finished"
        if self.cancelled:
            return "cancelled"
        if self.paused is not None:
            return "paused"
        return "open" if self.started else "preparing"


def replay(records: Iterable[Record]) -> State:
    """Fold the ledger into a state. Raises LedgerError for a record that speaks of what was not begun."""
    state = State()
    for record in records:
        advance(state, record)
    return state


def advance(state: State, record: Record) -> None:
    """Take a state one record further. Raises LedgerError as `replay` does."""
    state.first_time = state.first_time or record.time
    state.last_time = record.time
    try:
        _apply(state, record.event)
    except LookupError:
        raise LedgerError(
            f"line {record.seq + 1} of a ledger ({record.event.kind}) speaks of what no line before has "
            "begun; no version up to this one writes such a ledger"
        ) from None


def _iteration(state: State, number: int) -> Iteration:
    while len(state.iterations) <= number:
        state.iterations.append(Iteration(len(state.iterations)))
    return state.iterations[number]


def _charge(state: State, cost: EndpointProbed | Exchange) -> None:
    state.prompt_tokens += cost.prompt_tokens
    state.completion_tokens += cost.completion_tokens
    state.usd += cost.usd


def _apply(state: State, event: Event) -> None:
    match event:
        case CampaignStarted():
            state.started, state.paused, state.cancelled = event, None, False
        case Resumed():
            state.paused, state.cancelled = None, False
            if not event.unattended:  # who started it has looked; what starts by itself goes on counting
                for attempt in (a for attempts in state.jobs.values() for a in attempts):
                    attempt.forgiven = attempt.outcome in NO_RESULT
                    attempt.since_before = attempt.ended is None
        case EndpointProbed():
            state.endpoints[event.base_url, event.model] = Abilities(
                event.mode, event.context_tokens, event.max_tokens_field, event.takes_system_role
            )
            _charge(state, event)
        case Exchange():
            state.exchanges += 1
            _charge(state, event)
        case Drafted():
            iteration = _iteration(state, event.iteration)
            iteration.title, iteration.hypothesis = event.title, event.hypothesis
            iteration.drafts.append(event)
        case Reviewed():
            _iteration(state, event.iteration).reviews[event.revision] = event
        case Proposed():
            iteration = _iteration(state, event.iteration)
            iteration.title, iteration.hypothesis = event.title, event.hypothesis
            iteration.recipe_digest = event.recipe_digest
        case NoProposal():
            _iteration(state, event.iteration).no_proposal = event.reason
        case GaveUp():
            state.gave_up = event.reason
        case JobSubmitted():
            state.jobs.setdefault(event.key, []).append(
                Attempt(event.attempt, order_sha256=event.order_sha256)
            )
        case JobFinished():
            attempt = {attempt.number: attempt for attempt in state.jobs[event.key]}[event.attempt]
            attempt.ended, attempt.forgiven = event, event.free
            # It may have been asked to end before the run was resumed.
            attempt.forgiven |= attempt.since_before and attempt.outcome == "cancelled"
            state.cpu_seconds += event.counted_cpu_s
            state.gpu_seconds += event.gpu_s
        case CandidateDropped():
            _iteration(state, event.iteration).dropped = f"dropped by a person: {event.why}"
        case Weighed():
            _iteration(state, event.iteration).weighed = event
        case Verdict():
            _iteration(state, event.iteration).verdict = event
            state.incumbent = event.incumbent
        case Lesson():
            _iteration(state, event.iteration).lesson = event.text
        case ConfirmationAsked():
            state.asked, state.finished, state.sealed_check = event, None, None
        case AblationAsked():
            state.ablation_asked, state.finished = event, None
        case Ablated():
            state.ablated = event
        case Confirmed():
            state.confirmed, state.incumbent = event, event.incumbent
        case SealedCheck():
            state.sealed_check = event
        case Examined():
            state.examined = event
        case Paused():
            state.paused = event.reason
        case Cancelled():
            state.cancelled = True
        case Finished():
            state.finished = event.reason
        case _:
            pass  # `heard` and `ledger_repaired` carry no state
