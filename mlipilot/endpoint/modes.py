"""A conversation as an endpoint takes it, in each of the ways to call a tool. Pure functions."""

from __future__ import annotations

import json
from typing import Any

from mlipilot.endpoint.abilities import Abilities

_Message = dict[str, Any]
_FORM_KEYS = frozenset({"type", "properties", "required", "additionalProperties", "items", "enum", "const"})


def request_body(
    messages: list[_Message], tools: list[dict[str, Any]], abilities: Abilities
) -> dict[str, Any]:
    """`messages` and whatever makes the model call one of `tools`, for the body of a request."""
    if abilities.mode == "native":
        shaped = _merged(messages if abilities.takes_system_role else _without_system(messages))
        return {"messages": shaped} | ({"tools": tools} if tools else {})
    shaped = _merged(_with_tools_as_text(messages, tools))
    if not abilities.takes_system_role:
        shaped = _merged(_without_system(shaped))
    body: dict[str, Any] = {"messages": shaped}
    if tools and abilities.mode == "json_schema":
        schema = {"name": "tool_call", "schema": call_schema(tools)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif tools and abilities.mode == "json_object":
        body["response_format"] = {"type": "json_object", "schema": call_schema(tools)}
    return body


def call_schema(tools: list[dict[str, Any]]) -> dict[str, Any]:
    """The JSON schema of one call of one of the tools.

    It holds the form only: servers differ in which limits of lengths and numbers their grammars know, and
    refuse the others. The limits are checked when the call has come.
    """
    calls = [
        {
            "type": "object",
            "properties": {
                "tool": {"type": "string", "const": tool["function"]["name"]},
                "arguments": _form(tool["function"]["parameters"]),
            },
            "required": ["tool", "arguments"],
            "additionalProperties": False,
        }
        for tool in tools
    ]
    return calls[0] if len(calls) == 1 else {"oneOf": calls}


def _form(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if key in _FORM_KEYS}
    if "properties" in kept:
        kept["properties"] = {name: _form(part) for name, part in kept["properties"].items()}
    if "items" in kept:
        kept["items"] = _form(kept["items"])
    return kept


def tools_as_text(tools: list[dict[str, Any]]) -> str:
    """How to call `tools` (as `/chat/completions` takes them), for a model that sees them in no other way."""
    functions = [tool["function"] for tool in tools]
    first = functions[0]
    example = {"tool": first["name"], "arguments": dict.fromkeys(first["parameters"]["required"], "…")}
    lines = [
        "How to call a tool",
        "- You act by calling one tool at a time. A reply is one JSON object and nothing else, such as",
        f"  {json.dumps(example, ensure_ascii=False)}",
        "- The answer of the tool comes with the next message.",
        "",
        "The tools, each with the JSON schema of its arguments:",
    ]
    for function in functions:
        lines.append(f"- {function['name']}: {function['description']}")
        lines.append(f"  {json.dumps(function['parameters'], ensure_ascii=False)}")
    return "\n".join(lines)


def _with_tools_as_text(messages: list[_Message], tools: list[dict[str, Any]]) -> list[_Message]:
    """The conversation without fields and roles for tools, as a template knows none of them."""
    names = {call["id"]: call["function"]["name"] for m in messages for call in m.get("tool_calls") or []}
    shaped = [_as_text(message, names) for message in messages]
    if not tools:
        return shaped
    first = 1 if shaped and shaped[0]["role"] == "system" else 0
    return [*shaped[:first], {"role": "system", "content": tools_as_text(tools)}, *shaped[first:]]


def _as_text(message: _Message, names: dict[str, str]) -> _Message:
    content = message.get("content") or ""
    if message["role"] == "tool":
        name = names.get(message["tool_call_id"], "the tool")
        return {"role": "user", "content": f"Answer of {name}:\n{content}"}
    calls = [call["function"] for call in message.get("tool_calls") or []]
    told = [{"tool": call["name"], "arguments": json.loads(call["arguments"])} for call in calls]
    lines = [content, *(json.dumps(call, ensure_ascii=False) for call in told)]
    return {"role": message["role"], "content": "\n".join(line for line in lines if line)}


def _without_system(messages: list[_Message]) -> list[_Message]:
    return [{**m, "role": "user"} if m["role"] == "system" else m for m in messages]


def _merged(messages: list[_Message]) -> list[_Message]:
    """Texts of one role that follow each other as one: many templates want the roles to alternate."""
    merged: list[_Message] = []
    for message in messages:
        plain = {**message, "content": message.get("content") or ""}
        if merged and _is_text(merged[-1]) and _is_text(plain) and merged[-1]["role"] == plain["role"]:
            texts = (merged[-1]["content"], plain["content"])
            merged[-1] = {**plain, "content": "\n\n".join(text for text in texts if text)}
        else:
            merged.append(plain)
    return merged


def _is_text(message: _Message) -> bool:
    return message["role"] in ("system", "user", "assistant") and not message.get("tool_calls")
