"""An OpenAI-compatible endpoint, asked in the way that it can be asked; what it refuses teaches how."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mlipilot.endpoint.abilities import MODES, Abilities, CallMode
from mlipilot.endpoint.endpoint_settings import EndpointSettings
from mlipilot.endpoint.exchange import ContextOverflowError, Exchange, Refused, RequestRefusedError
from mlipilot.endpoint.modes import request_body
from mlipilot.endpoint.parsing import Reply, read_reply
from mlipilot.endpoint.refusals import Refusal, read_refusal
from mlipilot.endpoint.retrying_caller import Caller, FaultError, error_text, plain
from mlipilot.untrusted import one_line

_REPLY_SHARE = 4
"""A reply may take this part of the context: servers refuse what would not fit behind the conversation."""
_LEAST_TRUNCATED_TOKENS = 1000
_CHARACTERS_PER_TOKEN = 4
_MAX_LESSONS = 8


class Endpoint:
    """One model at one address.

    `abilities` say how it is asked. What it teaches beyond them is kept for the next request, and told to
    `learnt` (the abilities now, and why) once a request has gone through with it.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str | None,
        settings: EndpointSettings,
        abilities: Abilities | None = None,
        learnt: Callable[[Abilities, str], None] | None = None,
        until: float | None = None,
    ) -> None:
        self.caller = Caller(base_url, api_key, settings, until)
        self.model = model
        self.settings = settings
        self.abilities = _as_set(settings, abilities)
        self.stand_in: Callable[[dict[str, Any]], tuple[Reply, float]] | None = None
        """What is given the requests in place of the address, and returns reply and duration in s."""
        self._learnt = learnt
        self._lessons: list[str] = []
        self.last_count = 0
        """Prompt tokens of the exchange before, as the endpoint counted them."""

    @property
    def base_url(self) -> str:
        """Where it is."""
        return self.caller.base_url

    @property
    def context_tokens(self) -> int | None:
        """How many tokens there are for conversation and reply together, as far as that is known."""
        return self.abilities.context_tokens

    @property
    def reply_tokens(self) -> int:
        """How many tokens a reply may have."""
        if self.context_tokens is None:
            return self.settings.max_tokens
        return min(self.settings.max_tokens, max(1, self.context_tokens // _REPLY_SHARE))

    def __repr__(self) -> str:
        return f"Endpoint({self.base_url!r}, {self.model!r})"

    def complete(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> Exchange:
        """The model's reply to a conversation.

        Raises ContextOverflowError when the conversation is too long, RequestRefusedError when the endpoint
        does not take it, PausedError when no reply can be had.
        """
        before, refusals = self.abilities, list[Refused]()
        for _ in range(_MAX_LESSONS):
            sent = self._request(messages, tools)
            try:
                exchange = self._asked(sent, before, refusals)
                break
            except RequestRefusedError as refused:
                refusals.append(Refused(refused.status, refused.said, str(refused)))
                try:
                    self._learn(refused, bool(tools))
                except ContextOverflowError as overflow:
                    overflow.exchange = self._exchange(sent, Reply(), 0.0, before, refusals)
                    raise
        else:
            raise self.caller.paused("it refuses every way to ask it", self.model)
        if self._lessons and self._learnt is not None:
            self._learnt(self.abilities, "; ".join(self._lessons))
        self._lessons = []
        self._check_whole(exchange)
        return exchange

    def otherwise(self, abilities: Abilities, max_tokens: int) -> Endpoint:
        """The same endpoint, asked in this one way and with replies of at most so many tokens."""
        update = {"mode": abilities.mode, "max_tokens": min(max_tokens, self.settings.max_tokens)}
        other = copy.copy(self)
        other.settings = self.settings.model_copy(update=update)
        other.abilities, other._learnt, other._lessons = abilities, None, []
        return other

    def models(self) -> list[str]:
        """The names of the models that the endpoint says it serves. Raises PausedError."""
        return self.caller.ask("GET", "/models", None, _model_names)[0]

    def _request(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> bytes:
        """The body that is sent."""
        request = {"model": self.model} | request_body(messages, tools, self.abilities)
        request[self.abilities.max_tokens_field] = self.reply_tokens
        if self.settings.temperature is not None:
            request["temperature"] = self.settings.temperature
        return json.dumps(request, ensure_ascii=False).encode("utf-8", errors="replace")

    def _asked(self, sent: bytes, before: Abilities, refusals: list[Refused]) -> Exchange:
        if self.stand_in is not None:
            reply, duration_s = self.stand_in(plain(json.loads(sent)))
        else:
            path = "/chat/completions"
            reply, duration_s = self.caller.ask("POST", path, sent, _completion, self.model)
        return self._exchange(sent, reply, duration_s, before, refusals)

    def _exchange(
        self, sent: bytes, reply: Reply, duration_s: float, before: Abilities, refusals: list[Refused]
    ) -> Exchange:
        return Exchange(
            # read back from what was sent, because the conversation goes on growing
            request=plain(json.loads(sent)),
            reply=reply,
            duration_s=duration_s,
            base_url=self.base_url,
            abilities=before,
            refused=tuple(refusals),
        )

    def _learn(self, refused: RequestRefusedError, has_tools: bool) -> None:
        """Change the abilities by what a refusal says. Raises the refusal when it teaches nothing new."""
        for refusal in read_refusal(refused.status, refused.said):
            if refusal.cause == "overflow":
                self._learn_context(refusal, refused)
                return
            now = self._other_way(refusal, has_tools)
            if now is not None:
                self.abilities = now
                self._lessons.append(one_line(refused.said, 200))
                return
        raise refused

    def _learn_context(self, refusal: Refusal, refused: RequestRefusedError) -> None:
        """Remember the context size. Raises ContextOverflowError unless a shorter reply may do."""
        before = self.reply_tokens
        size = refusal.context_tokens
        if size is not None and self.settings.context_tokens is None and size != self.context_tokens:
            self.abilities = replace(self.abilities, context_tokens=size)
            self._lessons.append(f"its context holds {size} tokens")
        if self.reply_tokens >= before:
            raise ContextOverflowError(str(refused), size or self.context_tokens)

    def _other_way(self, refusal: Refusal, has_tools: bool) -> Abilities | None:
        """The abilities that a refusal suggests, or None when they are what was tried."""
        now, is_native = self.abilities, self.abilities.mode == "native"
        match refusal.cause:
            case "max_tokens_field" if now.max_tokens_field == "max_tokens":
                return replace(now, max_tokens_field="max_completion_tokens")
            case "roles" if now.takes_system_role:
                return replace(now, takes_system_role=False)
            case "tools" | "roles" if is_native and has_tools and self.settings.mode == "auto":
                return replace(now, mode=_next_mode(now))
            case "format" if now.mode in ("json_schema", "json_object") and self.settings.mode == "auto":
                return replace(now, mode=_next_mode(now))
            case _:
                return None

    def _check_whole(self, exchange: Exchange) -> None:
        """Raises ContextOverflowError when the endpoint has dropped a part of the conversation in silence."""
        count, self.last_count = self.last_count, exchange.reply.prompt_tokens
        if lost_a_part(exchange, count):
            sent = _characters(exchange)
            reason = f"it has read {count} tokens, twice, of {sent} characters: its context is too small"
            raise ContextOverflowError(str(self.caller.paused(reason, self.model)), count, exchange)


def lost_a_part(exchange: Exchange, counted: int) -> bool:
    """Whether the endpoint has dropped a part of the conversation in silence; `counted`: of the one before.

    It then counts the same prompt tokens again and again, while what is sent grows: Ollama does so.
    """
    is_same = counted == exchange.reply.prompt_tokens >= _LEAST_TRUNCATED_TOKENS
    return is_same and counted * _CHARACTERS_PER_TOKEN < _characters(exchange)


def _characters(exchange: Exchange) -> int:
    return sum(len(message["content"]) for message in exchange.request["messages"])


def _as_set(settings: EndpointSettings, abilities: Abilities | None) -> Abilities:
    """The abilities, but for what the settings fix."""
    known = abilities or Abilities(max_tokens_field=settings.max_tokens_field)
    mode = known.mode if settings.mode == "auto" else settings.mode
    return replace(known, mode=mode, context_tokens=settings.context_tokens or known.context_tokens)


def _next_mode(abilities: Abilities) -> CallMode:
    return MODES[MODES.index(abilities.mode) + 1]


def _completion(answer: dict[str, Any]) -> Reply:
    """The reply in an answer. Raises FaultError for one that holds no message."""
    try:
        return read_reply(answer)
    except ValueError as error:
        # some servers answer 200 with an error while they load the model
        said = error_text(answer)
        raise FaultError(f"{error}{said}", is_loading=bool(said)) from None


def _model_names(answer: dict[str, Any]) -> list[str]:
    entries = answer.get("data")
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) and isinstance(entry.get("id"), str) for entry in entries
    ):
        raise FaultError(f"the answer is no list of models{error_text(answer)}")
    return [entry["id"] for entry in entries]
