"""A proposer that only calls tools, in a conversation: it speaks as a language model does.

Nothing is kept from one request to the next: the proposer begins anew, its calls are answered as they were in
the conversation, and the first that was not answered there is what it says.
"""

from __future__ import annotations

import json
from typing import Any

from mlipilot.endpoint.parsing import ToolCall
from mlipilot.pilots.outcomes import CAME_BACK, Proposal, Proposer
from mlipilot.pilots.tools import ToolResult, Tools


def next_call(propose: Proposer[Tools], messages: list[Any], tools: list[Any]) -> ToolCall:
    """What `propose` calls next in a conversation, given as a request's messages and tools."""
    try:
        outcome = propose(_Conversation(messages, tools))
    except _UnansweredError as unanswered:
        return unanswered.call
    if isinstance(outcome, Proposal):
        raise AssertionError("an answer in a conversation is a text, no outcome")
    return ToolCall("give_up", {"reason": outcome.reason})


class _UnansweredError(Exception):
    """The conversation has no answer to a call yet."""

    def __init__(self, call: ToolCall) -> None:
        self.call = call


class _Conversation:
    """The tools of a turn, as far as a conversation has them."""

    def __init__(self, messages: list[Any], tools: list[Any]) -> None:
        told = [str(message.get("content")) for message in messages if message.get("role") == "user"]
        self.came_back = any(line.startswith(CAME_BACK) for text in told for line in text.splitlines())
        takes = {tool["function"]["name"]: tool["function"]["parameters"]["properties"] for tool in tools}
        claim = takes["submit_experiment"]["expected_effect"]["items"]["properties"]
        self.metrics = claim["metric"].get("enum", ())
        self._made = _calls_made(messages)

    def call(self, name: str, arguments: dict[str, Any]) -> ToolResult:
        """What came of this call when it was made last. Raises _UnansweredError when it was not."""
        call = ToolCall(name, arguments)
        results = [result for made, result in self._made if made == call]
        if not results:
            raise _UnansweredError(call)
        return ToolResult(results[-1])


def _calls_made(messages: list[Any]) -> list[tuple[ToolCall, str]]:
    """Every tool call of a conversation that has its answer, in order."""
    asked: dict[str, ToolCall] = {}
    made = []
    for message in messages:
        for entry in message.get("tool_calls") or []:
            arguments = json.loads(entry["function"]["arguments"] or "{}")
            asked[entry["id"]] = ToolCall(entry["function"]["name"], arguments)
        if message.get("role") == "tool" and message.get("tool_call_id") in asked:
            made.append((asked[message["tool_call_id"]], str(message.get("content"))))
    return made
