"""A lineage's state: nothing but its ledger, replayed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlipilot.audit.ledger import Record
from mlipilot.endpoint.abilities import Abilities
from mlipilot.paths import JobKey

OWN_FAULTS = ("failed", "time_limit", "protected_changed")
"""Outcomes of a job that are the candidate's own fault."""
NOT_RUN = ("not_isolated", "not_storable")
"""Outcomes of a job that did not begin: the run pauses, and it is another attempt's turn after that."""
NO_RESULT = ("lost", "cancelled", *NOT_RUN)
"""Outcomes that say nothing of the candidate: up to `jobs.max_attempts` attempts in a session."""


@dataclass
class Attempt:
    """One submission of a job, and how it ended once it has."""

    number: int
    ended: dict[str, Any] | None = None
    forgiven: bool = False  # without a result by the cluster's own fault, or before a person resumed the run
    since_before: bool = False  # in flight when a person resumed the run

    @property
    def outcome(self) -> str | None:
        """How the attempt ended, or None while it runs."""
        return None if self.ended is None else str(self.ended["outcome"])


@dataclass
class Draft:
    """One revision of an iteration: what the pilot submitted, and what the reviewer said of it."""

    revision: int
    title: str
    hypothesis: dict[str, Any]
    recipe_digest: str
    review: dict[str, Any] | None = None

    @property
    def objected(self) -> bool:
        """Whether the reviewer spoke against it."""
        return self.review is not None and not self.review["approved"]


@dataclass
class Iteration:
    """One candidate on its way from draft to verdict."""

    number: int
    title: str = ""
    hypothesis: dict[str, Any] | None = None
    drafts: list[Draft] = field(default_factory=list)
    recipe_digest: str | None = None
    no_proposal: str | None = None
    verdict: dict[str, Any] | None = None
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
        return bool(self.drafts) and self.drafts[-1].objected and sum(d.objected for d in self.drafts) == 1

    @property
    def judged(self) -> bool:
        """Whether the iteration is over."""
        return self.verdict is not None or self.no_proposal is not None


@dataclass
class State:
    """All that the controller knows."""

    started: dict[str, Any] | None = None
    iterations: list[Iteration] = field(default_factory=list)
    jobs: dict[JobKey, list[Attempt]] = field(default_factory=dict)
    incumbent: int | None = None
    gave_up: str | None = None
    sealed_check: dict[str, Any] | None = None
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


def counted_cpu_s(ended: Mapping[str, Any]) -> float:
    """The CPU time that an attempt is counted with: where it is unknown, as if one core had been busy."""
    return float(ended["wall_s"] if ended["cpu_s"] is None else ended["cpu_s"])


def replay(records: Iterable[Record]) -> State:
    """Fold the ledger into a state."""
    state = State()
    for record in records:
        state.first_time = state.first_time or record.time
        state.last_time = record.time
        _apply(state, record.kind, record.body)
    return state


def _iteration(state: State, number: int) -> Iteration:
    while len(state.iterations) <= number:
        state.iterations.append(Iteration(len(state.iterations)))
    return state.iterations[number]


def _apply(state: State, kind: str, body: dict[str, Any]) -> None:
    match kind:
        case "campaign_started":
            state.started, state.paused = body, None
        case "resumed":
            state.paused, state.cancelled = None, False
            for attempt in (a for attempts in state.jobs.values() for a in attempts):
                attempt.forgiven = attempt.outcome in NO_RESULT
                attempt.since_before = attempt.ended is None
        case "endpoint_probed":
            known = {key: body[key] for key in Abilities.__dataclass_fields__}
            state.endpoints[body["base_url"], body["model"]] = Abilities(**known)
            state.prompt_tokens += body["prompt_tokens"]
            state.completion_tokens += body["completion_tokens"]
            state.usd += body["usd"]
        case "exchange":
            state.exchanges += 1
            state.prompt_tokens += body["prompt_tokens"]
            state.completion_tokens += body["completion_tokens"]
            state.usd += body["usd"]
        case "drafted":
            iteration = _iteration(state, body["iteration"])
            iteration.title, iteration.hypothesis = body["title"], body["hypothesis"]
            kept = ("revision", "title", "hypothesis", "recipe_digest")
            iteration.drafts.append(Draft(**{key: body[key] for key in kept}))
        case "reviewed":
            _iteration(state, body["iteration"]).drafts[body["revision"] - 1].review = body
        case "proposed":
            iteration = _iteration(state, body["iteration"])
            iteration.title, iteration.hypothesis = body["title"], body["hypothesis"]
            iteration.recipe_digest = body["recipe_digest"]
        case "no_proposal":
            _iteration(state, body["iteration"]).no_proposal = body["reason"]
        case "gave_up":
            state.gave_up = body["reason"]
        case "job_submitted":
            state.jobs.setdefault(JobKey.of(body), []).append(Attempt(body["attempt"]))
        case "job_finished":
            attempts = state.jobs[JobKey.of(body)]
            attempt = next(a for a in attempts if a.number == body["attempt"])
            attempt.ended, attempt.forgiven = body, bool(body.get("free"))
            # It may have been asked to end before the run was resumed.
            attempt.forgiven |= attempt.since_before and attempt.outcome == "cancelled"
            state.cpu_seconds += counted_cpu_s(body)
            state.gpu_seconds += body["gpu_s"]
        case "verdict":
            _iteration(state, body["iteration"]).verdict = body
            state.incumbent = body["incumbent"]
        case "lesson":
            _iteration(state, body["iteration"]).lesson = body["text"]
        case "sealed_check":
            state.sealed_check = body
        case "paused":
            state.paused = body["reason"]
        case "cancelled":
            state.cancelled = True
        case "finished":
            state.finished = body["reason"]
        case _:
            pass  # `ledger_repaired` and kinds of later versions carry no state
