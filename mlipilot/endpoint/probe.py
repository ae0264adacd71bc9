"""Finding out how an endpoint can be asked, by a few tiny requests."""

from __future__ import annotations

from dataclasses import replace

from mlipilot.endpoint.abilities import CallMode, Finding
from mlipilot.endpoint.client import Endpoint
from mlipilot.endpoint.context_size import find_context_tokens
from mlipilot.endpoint.exchange import Exchange, RequestRefusedError
from mlipilot.endpoint.parsing import Reply
from mlipilot.endpoint.trial import TRIAL_MESSAGES, TRIAL_TOKENS, TRIAL_TOOLS, is_right
from mlipilot.untrusted import one_line

_CONSTRAINED: tuple[CallMode, ...] = ("json_schema", "json_object")
_KEY_REFUSED = frozenset({401, 403})


def find_abilities(endpoint: Endpoint) -> Finding:
    """How `endpoint` can be asked. Raises PausedError when it cannot be had.

    A way that the settings fix is taken as it is, and only the context size is looked for.
    """
    probe = _Probe(endpoint)
    mode = probe.best_mode() if endpoint.settings.mode == "auto" else endpoint.abilities.mode
    abilities = replace(probe.abilities, mode=mode)
    if abilities.context_tokens is None:
        # Last, because Ollama tells the size only of a model that has been asked something.
        size = find_context_tokens(endpoint.caller.look, endpoint.model)
        abilities = replace(abilities, context_tokens=size)
    if any(exchange.estimates for exchange in probe.exchanges):
        probe.said.append("tokens are estimated where it counts none")
    return Finding(
        base_url=endpoint.base_url,
        model=endpoint.model,
        abilities=abilities,
        why="; ".join(probe.said) or "as the settings say",
        requests=len(probe.exchanges),
        prompt_tokens=sum(exchange.charged["prompt_tokens"] for exchange in probe.exchanges),
        completion_tokens=sum(exchange.charged["completion_tokens"] for exchange in probe.exchanges),
    )


class _Probe:
    """The trials of one endpoint, and what they came to."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self.abilities = endpoint.abilities
        self.exchanges: list[Exchange] = []
        self.said: list[str] = []

    def best_mode(self) -> CallMode:
        """The first way, from the best on, in which the model makes the call that it should."""
        own = self._tried("native")
        is_called = own is not None and is_right(own.reply)
        if own is not None and is_called and own.reply.is_native:
            return "native"
        if own is not None and not is_called and self._shows_tools(own.reply) and own.is_cut_off:
            return "native"  # it was still thinking
        for mode in _CONSTRAINED:
            tried = self._tried(mode)
            if tried is not None and is_right(tried.reply):
                return mode
        if is_called:
            return "native"  # the call stands in the text, and is read there
        if not self.exchanges:  # all was refused, and perhaps for a reason that is none of the modes'
            self._ask("prompt")
        return "prompt"

    def _tried(self, mode: CallMode) -> Exchange | None:
        """The reply to the trial, or None when the endpoint refuses it in this mode."""
        try:
            exchange = self._ask(mode)
        except RequestRefusedError as refused:
            if refused.status in _KEY_REFUSED:
                raise
            self.said.append(f"{mode}: refused ({one_line(refused.said, 120)})")
            return None
        where = "" if mode != "native" or exchange.reply.is_native else " in the text"
        self.said.append(f"{mode}: a call{where}" if is_right(exchange.reply) else f"{mode}: no call")
        return exchange

    def _shows_tools(self, reply: Reply) -> bool:
        """Whether tools make the prompt longer: some templates leave them out without a word."""
        without = self._ask("native", with_tools=False, tokens=1).reply
        if reply.prompt_tokens > without.prompt_tokens or not reply.prompt_tokens:
            return True
        counts = f"{reply.prompt_tokens} prompt tokens with them, {without.prompt_tokens} without"
        self.said.append(f"the template leaves tools out ({counts})")
        return False

    def _ask(self, mode: CallMode, *, with_tools: bool = True, tokens: int = TRIAL_TOKENS) -> Exchange:
        trial = self._endpoint.otherwise(replace(self.abilities, mode=mode), tokens)
        exchange = trial.complete(TRIAL_MESSAGES, TRIAL_TOOLS if with_tools else [])
        self.abilities = trial.abilities  # a refusal may have taught something besides
        self.exchanges.append(exchange)
        return exchange
