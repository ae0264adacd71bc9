"""A role's model that says what a test wants it to say."""

from __future__ import annotations

import json
from typing import Any

from mlipilot.endpoint.abilities import Abilities
from mlipilot.endpoint.exchange import Exchange
from mlipilot.endpoint.parsing import read_reply


class Speaker:
    """Answers with the given messages in turn, the last one again and again."""

    context_tokens: int | None = None
    reply_tokens = 1024
    abilities = Abilities()

    def __init__(self, *messages: dict[str, Any], finish_reason: str = "stop") -> None:
        self.messages, self.finish_reason = list(messages), finish_reason
        self.heard: list[list[dict[str, Any]]] = []

    def complete(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> Exchange:
        """The next message."""
        self.heard.append(list(messages))
        message = self.messages[min(len(self.heard), len(self.messages)) - 1]
        choice = {"message": message, "finish_reason": self.finish_reason}
        usage = {"prompt_tokens": 10, "completion_tokens": 5}
        reply = read_reply({"choices": [choice], "usage": usage})
        return Exchange({"messages": messages, "tools": tools}, reply, 0.1, abilities=self.abilities)


def calling(name: str, **arguments: Any) -> dict[str, Any]:
    """A message with one call."""
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"role": "assistant", "content": "", "tool_calls": [{"id": "1", "function": function}]}


def saying(text: str) -> dict[str, Any]:
    """A message without a call."""
    return {"role": "assistant", "content": text}
