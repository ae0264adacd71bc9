"""The tool calls of a conversation, as a pilot without a language model reads them to decide the next one."""

from __future__ import annotations

import json
from typing import Any, NamedTuple


class Call(NamedTuple):
    """A tool call; `result` is the text that came back, or None when it has yet to be made."""

    name: str
    arguments: dict[str, Any]
    result: str | None = None

    @property
    def is_refused(self) -> bool:
        """Whether the tool said no."""
        return (self.result or "").startswith("error:")


def calls_made(messages: list[Any]) -> list[Call]:
    """Every tool call of a conversation that has its answer, in order."""
    asked: dict[str, tuple[str, dict[str, Any]]] = {}
    made = []
    for message in messages:
        for entry in message.get("tool_calls") or []:
            arguments = json.loads(entry["function"]["arguments"] or "{}")
            asked[entry["id"]] = (entry["function"]["name"], arguments)
        if message.get("role") == "tool" and message.get("tool_call_id") in asked:
            made.append(Call(*asked[message["tool_call_id"]], result=str(message.get("content"))))
    return made


def last_result(made: list[Call], name: str) -> str | None:
    """What the newest call of a tool gave; None when there was none."""
    return next((call.result for call in reversed(made) if call.name == name), None)
