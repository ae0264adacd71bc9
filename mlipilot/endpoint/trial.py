"""A tiny conversation that has one right answer: a call of a tool whose name only its schema tells."""

from __future__ import annotations

from typing import Any

from mlipilot.endpoint.parsing import Reply
from mlipilot.endpoint.tool_entries import object_schema, tool_entry

TRIAL_TOOL = "report_colour"
TRIAL_TOKENS = 512
"""Enough for a short thought and the call."""
TRIAL_MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": "You answer by calling a tool."},
    {"role": "user", "content": "Which colour has the sky on a clear day? Report it with the tool for that."},
]


TRIAL_TOOLS = [
    tool_entry("report_number", "Report a number.", object_schema({"number": {"type": "integer"}})),
    tool_entry(TRIAL_TOOL, "Report a colour, in one word.", object_schema({"colour": {"type": "string"}})),
]


def is_right(reply: Reply) -> bool:
    """Whether a reply to the trial calls the right tool with arguments that fit, wherever the call stands."""
    return any(
        call.name == TRIAL_TOOL and call.problem is None and isinstance(call.arguments.get("colour"), str)
        for call in reply.calls
    )
