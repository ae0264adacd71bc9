"""One request and its reply, whoever answers, and two reasons for none that a caller may act upon."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Protocol

from mlipilot.endpoint.abilities import Abilities
from mlipilot.endpoint.parsing import Reply
from mlipilot.errors import PausedError

_CHARACTERS_PER_TOKEN = 3
"""Of an estimate: rather few, so that a budget ends too early and not too late."""


@dataclass(frozen=True)
class Refused:
    """A request that the endpoint did not take, and that taught how to ask it."""

    status: int
    """Of HTTP."""
    said: str
    """The endpoint's own text, without the key."""
    told: str
    """What the program makes of it."""


@dataclass(frozen=True)
class Exchange:
    """One request and its reply, as sent and received; neither headers nor key are part of it."""

    request: dict[str, Any]
    reply: Reply
    duration_s: float
    """Of the request that was answered; failed ones and waits before it are not counted."""
    base_url: str = ""
    """Where the endpoint was."""
    abilities: Abilities = field(default_factory=Abilities)
    """How it was asked at first; what it refused may have taught another way."""
    refused: tuple[Refused, ...] = ()
    """What it refused before, in order; of a conversation that was too long in the end, all that it said:
    there is then no reply."""

    @property
    def estimates(self) -> dict[str, int]:
        """What budgets take in place of a count of tokens that the endpoint does not give, by its name."""
        if not self.reply.raw:
            return {}
        texts = {"prompt_tokens": self.request, "completion_tokens": self.reply.message}
        return {
            name: 1 + len(json.dumps(text, ensure_ascii=False)) // _CHARACTERS_PER_TOKEN
            for name, text in texts.items()
            if not getattr(self.reply, name)
        }

    @property
    def charged(self) -> dict[str, int]:
        """The tokens that count against a budget, by name: the endpoint's own, or else estimates."""
        said = {name: getattr(self.reply, name) for name in ("prompt_tokens", "completion_tokens")}
        return said | self.estimates

    @property
    def is_cut_off(self) -> bool:
        """Whether the reply ended at its limit: by the endpoint's word, or by its count of tokens."""
        limits = [self.request.get(field) for field in ("max_tokens", "max_completion_tokens")]
        return self.reply.finish_reason == "length" or (
            self.reply.completion_tokens > 0 and self.reply.completion_tokens in limits
        )


class Completer(Protocol):
    """Whatever answers a conversation: an endpoint, or the record of one."""

    def complete(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> Exchange:
        """The reply to a conversation.

        Raises ContextOverflowError when the conversation is too long, PausedError when no reply can be had,
        BudgetSpentError where there is a budget, and it is used up.
        """
        ...


class RequestRefusedError(PausedError):
    """The endpoint does not take a request, however often it is sent. `said` is its own text."""

    def __init__(self, message: str, status: int, said: str) -> None:
        super().__init__(message)
        self.status, self.said = status, said


class ContextOverflowError(PausedError):
    """A conversation is longer than the model's context; a shorter one would be answered."""

    def __init__(self, message: str, context_tokens: int | None, exchange: Exchange | None = None) -> None:
        super().__init__(message)
        self.context_tokens = context_tokens
        """So many tokens there are for conversation and reply; None when the endpoint does not say."""
        self.exchange = exchange
        """For the record: what was sent, and the reply where the endpoint answered all the same."""


class BudgetSpentError(Exception):
    """A call of the pilot was due, and a budget is used up; the text says which."""
