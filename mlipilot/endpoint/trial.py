"""A tiny conversation that has one right answer: a call of a tool whose name only its schema tells."""

from __future__ import annotations

from typing import Any

from mlipilot.endpoint.parsing import native_calls, parse_message

TRIAL_TOOL = "report_colour"
TRIAL_TOKENS = 512
"""Enough for a short thought and the call."""
TRIAL_MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": "You answer by calling a tool."},
    {"role": "user", "content": "Which colour has the sky on a clear day? Report it with the tool for that."},
]


def _tool(name: str, description: str, argument: str, kind: str) -> dict[str, Any]:
    parameters = {
        "type": "object",
        "properties": {argument: {"type": kind}},
        "required": [argument],
        "additionalProperties": False,
    }
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": parameters},
    }


TRIAL_TOOLS = [
    _tool("report_number", "Report a number.", "number", "integer"),
    _tool(TRIAL_TOOL, "Report a colour, in one word.", "colour", "string"),
]


def is_right(message: dict[str, Any]) -> bool:
    """Whether a reply to the trial calls the right tool with arguments that fit, wherever the call stands."""
    calls = parse_message(message).calls
    return any(
        call.name == TRIAL_TOOL and call.problem is None and isinstance(call.arguments.get("colour"), str)
        for call in calls
    )


def is_native(message: dict[str, Any]) -> bool:
    """Whether its call stands where the protocol wants it."""
    return bool(native_calls(message))
