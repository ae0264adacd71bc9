"""The record of an endpoint in its place: each request is held to the one on record, and answered as it was.

It stands in for the HTTP request alone, so all above it runs as it did: how the endpoint is asked, what its
refusals teach, how replies are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlipilot.audit.files import tree_digest
from mlipilot.endpoint.client import Endpoint, lost_a_part
from mlipilot.endpoint.endpoint_settings import EndpointSettings
from mlipilot.endpoint.exchange import (
    BudgetSpentError,
    ContextOverflowError,
    Exchange,
    RequestRefusedError,
)
from mlipilot.endpoint.parsing import Reply
from mlipilot.errors import PausedError
from mlipilot.pilots.likeness import first_difference
from mlipilot.pilots.outcomes import Outcome, Proposal, Proposer, TurnInput
from mlipilot.pilots.pilot_settings import Role

_AS_RECORDED = "replay with the campaign, recipe, data, machine and MLIPilot that were recorded"


class DivergedError(PausedError):
    """What is asked is not what was asked, so that the record does not say what would be answered."""

    exit_status = 2


@dataclass(frozen=True)
class RecordedTurn:
    """What one role was asked in a turn that led on, from its beginning to its end."""

    iteration: int
    role: Role
    transcript: Path
    exchanges: tuple[tuple[int, Exchange], ...]
    """Each with the number of its line in the transcript."""
    counted: int = 0
    """Prompt tokens of the exchange before the first, in the same session; 0 where there was none."""
    spent: str | None = None
    """Which budget kept the role from being asked once more, in words."""
    drafted: str | None = None
    """The tree digest of the recipe that was submitted, if one was."""
    is_over: bool = True
    """Whether the record holds the turn's end."""


def replayed(settings: EndpointSettings, turn: RecordedTurn) -> Endpoint:
    """The endpoint of a recorded turn.

    Asking it raises DivergedError for a request that is not the recorded one, or is one too many.
    """
    first = turn.exchanges[0][1] if turn.exchanges else None
    offline = settings.model_copy(update={"ca_bundle": None, "trust_env": False})
    base_url = first.base_url if first else ""
    model = str(first.request.get("model", "")) if first else ""
    endpoint = Endpoint(base_url, model, None, offline, first.abilities if first else None)
    endpoint.stand_in = _Answers(turn)
    endpoint.last_count = turn.counted
    return endpoint


class Reread:
    """The replies of a recorded turn once more, in their order, whatever is asked: they are read anew."""

    def __init__(self, turn: RecordedTurn, spent: str | None) -> None:
        """`spent`: which budget was used up when the turn was over, in words, if one was."""
        self._turn, self._spent = turn, spent
        self._left, self._counted = list(turn.exchanges), turn.counted

    def complete(self, messages: object, tools: object) -> Exchange:  # noqa: ARG002
        """The next reply.

        Raises ContextOverflowError where the conversation was too long then, BudgetSpentError where a budget
        kept the role from being asked once more, LookupError where nothing did.
        """
        turn = self._turn
        if self._left:
            _, exchange = self._left.pop(0)
            before = self._counted
            if exchange.reply.raw:
                self._counted = exchange.reply.prompt_tokens
            if not exchange.reply.raw or lost_a_part(exchange, before):
                raise ContextOverflowError("it was too long", None, exchange)
            return exchange
        if self._spent is not None:
            raise BudgetSpentError(self._spent)
        raise LookupError(
            f"{turn.transcript} has no reply of the {turn.role} in iteration {turn.iteration} that says it"
        )


def held_to(recorded: RecordedTurn, propose: Proposer[TurnInput]) -> Proposer[TurnInput]:
    """`propose`, which asks nobody, held to what it drafted then: it raises DivergedError for all else."""

    def proposed(turn: TurnInput) -> Outcome:
        outcome = propose(turn)
        drafted = tree_digest(turn.draft) if isinstance(outcome, Proposal) else None
        if drafted != recorded.drafted:
            raise DivergedError(
                f"iteration {recorded.iteration}: the recipe that is proposed is not the one on record\n"
                f"  mend: {_AS_RECORDED}"
            )
        return outcome

    return proposed


class _Answers:
    """The answers of a recorded turn, in its order."""

    def __init__(self, turn: RecordedTurn) -> None:
        self._turn = turn
        self._answered = 0
        self._refused = 0

    def __call__(self, request: dict[str, Any]) -> tuple[Reply, float]:
        """The recorded reply and its duration then.

        Raises RequestRefusedError where the endpoint refused, BudgetSpentError where a budget ended the turn,
        DivergedError for a request that is not the one on record.
        """
        turn = self._turn
        if self._answered == len(turn.exchanges):
            raise self._exhausted()
        line, exchange = turn.exchanges[self._answered]
        refusals = exchange.refused[self._refused :]
        if (
            len(refusals) + bool(exchange.reply.raw) == 1
        ):  # what came of the refusals before shows in this one
            self._compare(line, exchange.request, request)
            self._answered, self._refused = self._answered + 1, 0
        else:
            self._refused += 1
        if refusals:
            raise RequestRefusedError(refusals[0].told, refusals[0].status, refusals[0].said)
        return exchange.reply, exchange.duration_s

    @property
    def _place(self) -> str:
        turn = self._turn
        return f"iteration {turn.iteration}, request {self._answered + 1} of the {turn.role}"

    def _compare(self, line: int, recorded: Any, asked: Any) -> None:
        difference = first_difference(recorded, asked)
        if difference is not None:
            raise DivergedError(
                f"{self._place} is not the one on record ({self._turn.transcript}:{line}): {difference}\n"
                f"  mend: {_AS_RECORDED}; without `replay`, a pilot can go on from here in a run of its own"
            )

    def _exhausted(self) -> Exception:
        turn = self._turn
        if turn.spent is not None:
            return BudgetSpentError(turn.spent)
        how = "the turn was over before it" if turn.is_over else "the record ends in the middle of this turn"
        return DivergedError(
            f"{self._place} is not on record: {how} ({turn.transcript})\n"
            "  mend: replay with the campaign and the MLIPilot that were recorded, to the end of the record"
        )
