"""A short exchange with a role: one tool call is expected, and asked for again when it does not come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mlipilot.endpoint.exchange import Completer, ContextOverflowError, Exchange
from mlipilot.endpoint.parsing import Reply, ToolCall
from mlipilot.endpoint.tool_entries import Schema, object_schema, tool_entry
from mlipilot.pilots.arguments import coerced, fault_of
from mlipilot.untrusted import clip, one_line

TRIES = 3
"""So many replies a role has before it is taken to have nothing to say."""
Recorder = Callable[[Exchange], None]


def function(name: str, description: str, **texts: str) -> Schema:
    """A tool whose arguments are required texts, each with its description."""
    properties = {key: {"type": "string", "description": text} for key, text in texts.items()}
    return tool_entry(name, description, object_schema(properties))


def ask_role(
    completer: Completer, system: str, task: str, tools: list[Schema], record: Recorder
) -> tuple[ToolCall | None, str]:
    """The first call that fits one of `tools`, or None; and the prose of the last reply.

    Raises PausedError when the endpoint cannot be had.
    """
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": system},
        {"role": "user", "content": task},
    ]
    text = ""
    for _ in range(TRIES):
        try:
            exchange = completer.complete(messages, tools)
        except ContextOverflowError as overflow:  # what a role is told is short: its context is too small
            if overflow.exchange is not None:
                record(overflow.exchange)
            return None, ""
        record(exchange)
        reply = exchange.reply
        text = "" if exchange.is_cut_off else reply.text
        call, problem = _fitting(reply, tools, cut_off=exchange.is_cut_off)
        if call is not None:
            return call, text
        messages.append({"role": "assistant", "content": clip(reply.text, 2000) or "(no text)"})
        messages.append({"role": "user", "content": f"{problem} Answer with one tool call."})
    return None, text


def reread_role(completer: Completer, tools: list[Schema]) -> tuple[ToolCall | None, str]:
    """As `ask_role`, of a completer that gives a role's replies once more, whatever it is asked.

    Raises as `completer` does.
    """
    return ask_role(completer, "", "", tools, lambda _: None)


def _fitting(reply: Reply, tools: list[Schema], *, cut_off: bool) -> tuple[ToolCall | None, str]:
    """The call, or what was wrong with the reply."""
    if cut_off:
        return None, "Your reply was cut off because it was too long."
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in tools}
    problem = "Your reply held no tool call."
    for call in reply.calls:
        if call.problem is not None:
            problem = f"The call could not be read: {one_line(call.problem)}."
        elif call.name not in schemas:
            problem = f"There is no tool {call.name}; the tools are: {', '.join(schemas)}."
        else:
            arguments = coerced(call.arguments, schemas[call.name])
            fault = fault_of(arguments, schemas[call.name])
            if fault is None:
                return replace(call, arguments=arguments), ""
            problem = f"{call.name}: {fault}."
    return None, problem
