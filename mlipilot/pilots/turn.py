"""One turn of a pilot: a conversation over tools that ends in a proposal, or in why there is none."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable

from mlipilot.endpoint.exchange import Completer, ContextOverflowError, Exchange
from mlipilot.endpoint.parsing import Reply, ToolCall
from mlipilot.endpoint.tool_entries import call_entry
from mlipilot.pilots.history_told import Room, fitted
from mlipilot.pilots.outcomes import NoProposal, Outcome, TurnInput
from mlipilot.pilots.prompt_texts import Nudge, first_messages, nudge
from mlipilot.pilots.tools import Toolbox, ToolResult, tool_schemas
from mlipilot.untrusted import clip, one_line

IDLE_REPLIES = 3
"""So many replies in a row without a call that has its tool's form end the turn: two are asked for again."""
SAME_CALLS = 3
"""A call made this often while nothing changed ends the turn; from the second on it is not carried out."""
_KEPT_TEXT = 4000
"""How much of a reply's prose stays in the conversation, in characters."""


def take_turn(
    endpoint: Completer, turn: TurnInput, room: Room, record: Callable[[Exchange], None]
) -> Outcome:
    """Let the model behind `endpoint` edit `turn.draft` and submit it.

    `record` is given every exchange before anything in it is acted upon. Raises as a `Proposer` does.
    """
    conversation = _Conversation(turn, room)
    for _ in range(turn.replies):
        try:
            exchange = conversation.asked(endpoint, record)
        except ContextOverflowError as overflow:
            return NoProposal(str(overflow))
        outcome = conversation.take(exchange)
        if outcome is not None:
            return outcome
    return NoProposal(f"no experiment within {turn.replies} replies")


class _Conversation:
    """The messages so far, and what the rules of a turn need to remember."""

    def __init__(self, turn: TurnInput, room: Room) -> None:
        self._toolbox = Toolbox(turn)
        self.tools = tool_schemas(self._toolbox.metrics)
        self._room = room
        self.messages = first_messages(turn, self._toolbox.texts(), self._room)
        self._idle = 0
        self._calls = 0
        self._edits = 0
        self._made: Counter[tuple[str, str, int]] = Counter()

    def asked(self, endpoint: Completer, record: Callable[[Exchange], None]) -> Exchange:
        """The model's reply to as much of the conversation as it takes, recorded.

        Raises ContextOverflowError when even the shortened conversation is too long.
        """
        try:
            return self._sent(endpoint, record)
        except ContextOverflowError as overflow:
            whole = [fitted(self.messages, self.tools, self._room), self.tools]
            self._room.shrink(overflow.context_tokens, whole)
        return self._sent(endpoint, record)

    def _sent(self, endpoint: Completer, record: Callable[[Exchange], None]) -> Exchange:
        sent = fitted(self.messages, self.tools, self._room)
        try:
            exchange = endpoint.complete(sent, self.tools)
        except ContextOverflowError as overflow:
            if overflow.exchange is not None:
                record(overflow.exchange)
            raise
        record(exchange)
        self._room.learn([sent, self.tools], exchange.reply.prompt_tokens)
        return exchange

    def take(self, exchange: Exchange) -> Outcome | None:
        """Act upon one reply; the turn's outcome, or None when it goes on."""
        reply = exchange.reply
        if exchange.is_cut_off:
            return self._without_call(reply, "cut_off")
        if not reply.calls:
            return self._without_call(reply, "no_call")
        calls = {f"call{at % 100000:05d}": call for at, call in enumerate(reply.calls, start=self._calls)}
        self._calls += len(calls)
        # As the endpoint will see it again: always valid JSON, whatever it looked like.
        entries = [call_entry(own_id, call.name, call.arguments) for own_id, call in calls.items()]
        said = {"role": "assistant", "content": clip(reply.text, _KEPT_TEXT), "tool_calls": entries}
        self.messages.append(said)
        fits = False
        for own_id, call in calls.items():
            result = self._carried_out(call)
            fits = fits or result.fits
            self.messages.append({"role": "tool", "tool_call_id": own_id, "content": result.text})
            if result.outcome is not None:
                return result.outcome
        self._idle = 0 if fits else self._idle + 1
        return self._idle_end(f"{reply.calls[-1].name}: {self.messages[-1]['content']}")

    def _without_call(self, reply: Reply, kind: Nudge) -> Outcome | None:
        self._idle += 1
        self.messages.append({"role": "assistant", "content": clip(reply.text, _KEPT_TEXT) or "(no text)"})
        self.messages.append({"role": "user", "content": nudge(kind)})
        return self._idle_end(reply.text)

    def _idle_end(self, text: str = "") -> Outcome | None:
        if self._idle < IDLE_REPLIES:
            return None
        said = f"; the last said: {one_line(text)}" if text.strip() else ""
        return NoProposal(f"{self._idle} replies in a row without a complete tool call{said}")

    def _carried_out(self, call: ToolCall) -> ToolResult:
        if call.problem is not None:
            return ToolResult(f"error: {one_line(call.problem, 400)}", fits=False)
        key = (call.name, json.dumps(call.arguments, sort_keys=True), self._edits)
        self._made[key] += 1
        if self._made[key] >= SAME_CALLS:
            reason = f"the same call {SAME_CALLS} times: {one_line(f'{call.name} {key[1]}', 200)}"
            return ToolResult("error: the turn has ended", outcome=NoProposal(reason))
        if self._made[key] > 1:
            return ToolResult(nudge("repeated"))
        result = self._toolbox.call(call.name, call.arguments)
        self._edits += result.edited
        return result
