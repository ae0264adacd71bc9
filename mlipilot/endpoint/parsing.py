"""Reading the tool calls out of a reply, whichever way the endpoint put them.

Native `tool_calls` are best; many servers leave the call in the text instead, in the dialect that the model
learnt (`dialects/`), or in the field of its reasoning. Nothing in a reply is trusted to have its type.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from mlipilot.endpoint.dialects import calls_in
from mlipilot.endpoint.dialects.reading import (
    Found,
    call_of,
    refuse_constant,
    with_closing_brackets,
)

MAX_CALLS = 16
"""More calls than this in one reply are ignored: a model that repeats itself for ever does no harm."""

_MAX_TEXT = 200_000
_MAX_DEPTH = 32
_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_REASONING_FIELDS = ("reasoning_content", "reasoning")


@dataclass(frozen=True)
class ToolCall:
    """One call as the model meant it. `problem` says why it cannot be carried out, if so."""

    id: str
    name: str
    arguments: dict[str, Any]
    problem: str | None = None


@dataclass(frozen=True)
class ParsedReply:
    """The prose of a reply, without thoughts, and the calls found in it."""

    text: str
    """Empty when the calls were found in the text itself."""
    calls: list[ToolCall]


def parse_message(message: dict[str, Any], first_id: int = 0) -> ParsedReply:
    """The calls in an assistant `message` of `/chat/completions`.

    The calls are numbered from `first_id`. An endpoint's own ids are not kept: some repeat them, some give
    none, and Mistral's servers take back nothing but nine alphanumerics.
    """
    content = _text(message.get("content"))
    prose = _without_thoughts(content)
    found = native_calls(message)
    if not found:
        sources = [prose, content, *(_text(message.get(field)) for field in _REASONING_FIELDS)]
        found = next((calls for source in dict.fromkeys(sources) if (calls := calls_in(source))), [])
        prose = "" if found else prose
    return ParsedReply(prose, [_tool_call(entry, first_id + n) for n, entry in enumerate(found[:MAX_CALLS])])


def native_calls(message: dict[str, Any]) -> list[Found]:
    """The calls in the fields that the protocol has for them."""
    entries = message.get("tool_calls")
    if not isinstance(entries, list):
        entries = [message.get("function_call")]
    return [found for entry in entries if (found := call_of(entry, 0, bare=True)) is not None]


def _text(content: Any) -> str:
    """The content as a string; some servers give a list of parts."""
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if _is_text_part(part))
    return content[:_MAX_TEXT] if isinstance(content, str) else ""


def _is_text_part(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("text"), str)


def _without_thoughts(content: str) -> str:
    """Some templates open the thoughts themselves, so that a reply only holds their end."""
    before, mark, after = content.partition("</think>")
    return _THOUGHT.sub("", after if mark and "<think>" not in before else content).strip()


def _tool_call(found: Found, number: int) -> ToolCall:
    arguments, problem = _arguments(found.arguments) if found.problem is None else ({}, found.problem)
    # Servers refuse a conversation, for good, once a call in it has a name of other characters.
    plain_name = re.sub(r"[^A-Za-z0-9_-]", "_", found.name)[:64] or "unnamed"
    return ToolCall(f"call{number % 100000:05d}", plain_name, arguments, problem)


def _arguments(raw: Any) -> tuple[dict[str, Any], str | None]:
    """The arguments as a dictionary without nulls, or what is wrong with them."""
    for _ in range(2):  # some servers encode twice
        if not isinstance(raw, str):
            break
        try:
            raw = _from_json(raw.strip() or "{}")
        except (ValueError, RecursionError) as error:
            return {}, f"the arguments are not JSON: {error}"
    if raw is None:
        raw = {}
    if not isinstance(raw, dict):
        return {}, "the arguments must be a JSON object"
    try:  # escapes may hide half a character, 1e999 is read as infinity, Python's literals know more types
        plain = json.dumps(raw, ensure_ascii=False, allow_nan=False)
        plain.encode("utf-8")
    except (ValueError, TypeError, RecursionError):
        return {}, "the arguments hold a number or a character that JSON has no form for"
    if not _is_shallow(raw, _MAX_DEPTH):
        return {}, f"the arguments are nested more than {_MAX_DEPTH} deep"
    return {key: value for key, value in json.loads(plain).items() if value is not None}, None


def _from_json(text: str) -> Any:
    """`text` as JSON, its line breaks inside strings let pass and brackets missing at its end added."""
    try:
        return json.loads(text, parse_constant=refuse_constant, strict=False)
    except ValueError:
        closed = with_closing_brackets(text)
        if closed is None:
            raise
        return json.loads(closed, parse_constant=refuse_constant, strict=False)


def _is_shallow(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return levels > 0 and all(_is_shallow(item, levels - 1) for item in inner)
