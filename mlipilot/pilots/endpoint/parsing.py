"""Reading the tool calls out of a reply, whichever way the endpoint put them.

Native `tool_calls` are best; many servers leave the call in the text instead: as bare or fenced JSON, in
<tool_call> tags, or in the field of the model's reasoning.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

MAX_CALLS = 16
"""More calls than this in one reply are ignored: a model that repeats itself for ever does no harm."""

_MAX_TEXT = 200_000
_TAGGED = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)
_FENCED = re.compile(r"^[ \t]*```[\w-]*[ \t]*\n(.*?)^[ \t]*```", re.DOTALL | re.MULTILINE)
_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_LINE_START = re.compile(r"^[ \t]*(?:\[[ \t\n]*)?(?=\{)", re.MULTILINE)


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
    """The calls in an assistant `message` of `/chat/completions`; nothing in it is trusted to have its type.

    The calls are numbered from `first_id`. An endpoint's own ids are not kept: some repeat them, some give
    none, and Mistral's servers take back nothing but nine alphanumerics.
    """
    content = _text(message.get("content"))[:_MAX_TEXT]
    prose = _THOUGHT.sub("", content).strip()
    found = _native(message)
    if not found:
        thoughts = [_text(message.get(field))[:_MAX_TEXT] for field in ("reasoning_content", "reasoning")]
        found = next((calls for source in (prose, content, *thoughts) if (calls := _in_text(source))), [])
        prose = "" if found else prose
    parsed = []
    for at, (name, raw) in enumerate(found[:MAX_CALLS]):
        arguments, problem = _arguments(raw)
        # Servers refuse a conversation, for good, once a call in it has a name of other characters.
        plain_name = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64] or "unnamed"
        parsed.append(ToolCall(f"call{(first_id + at) % 100000:05d}", plain_name, arguments, problem))
    return ParsedReply(prose, parsed)


_Found = tuple[str, Any]  # name, arguments as given


def _text(content: Any) -> str:
    """The content as a string; some servers give a list of parts."""
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content if _is_text_part(part))
    return content if isinstance(content, str) else ""


def _is_text_part(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("text"), str)


def _native(message: dict[str, Any]) -> list[_Found]:
    entries = message.get("tool_calls")
    if not isinstance(entries, list):
        entries = [message["function_call"]] if isinstance(message.get("function_call"), dict) else []
    return [found for entry in entries if (found := _call(entry, bare=True)) is not None]


def _call(value: Any, *, bare: bool = False) -> _Found | None:
    """`value` as a call, if it has the shape of one: a name and, unless `bare`, arguments."""
    if not isinstance(value, dict):
        return None
    body = value["function"] if isinstance(value.get("function"), dict) else value
    name = body.get("name")
    keys = [key for key in ("arguments", "parameters") if key in body]
    if not isinstance(name, str) or not (keys or bare):
        return None
    return name.strip(), body[keys[0]] if keys else None


def _in_text(text: str) -> list[_Found]:
    tagged = _TAGGED.findall(text)
    if tagged:
        return [found for block in tagged for found in _objects(block)]
    fenced = [found for block in _FENCED.findall(text) for found in _objects(block)]
    return fenced or _objects(text)


def _objects(text: str) -> list[_Found]:
    """The calls among the JSON objects that begin a line (or a list that begins one) of `text`."""
    decoder, found, end, tries = json.JSONDecoder(parse_constant=_refuse_constant), [], 0, 0
    for match in _LINE_START.finditer(text):
        if match.end() < end:
            continue
        tries += 1
        if tries > 4 * MAX_CALLS:
            break
        values, end = _values_from(decoder, text, match.end())
        found += [call for value in values for call in _calls_of(value)]
    return found


def _values_from(decoder: json.JSONDecoder, text: str, start: int) -> tuple[list[Any], int]:
    """The objects from `start` on, as far as only blanks and commas part them, and where they end."""
    values: list[Any] = []
    while start < len(text) and text[start] == "{" and len(values) < MAX_CALLS:
        try:
            value, start = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):  # no JSON, or nested beyond all reason
            return values, start
        values.append(value)
        start += len(text[start:]) - len(text[start:].lstrip(" \t\n,"))
    return values, start


def _calls_of(value: dict[str, Any]) -> list[_Found]:
    inner = value.get("tool_calls")
    entries = inner if isinstance(inner, list) else [value]
    return [found for entry in entries if (found := _call(entry)) is not None]


def _arguments(raw: Any) -> tuple[dict[str, Any], str | None]:
    """The arguments as a dictionary without nulls, or what is wrong with them."""
    for _ in range(2):  # some servers encode twice
        if not isinstance(raw, str):
            break
        try:
            raw = json.loads(raw or "{}", parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            return {}, f"the arguments are not JSON: {error}"
    if raw is None:
        raw = {}
    if not isinstance(raw, dict):
        return {}, "the arguments must be a JSON object"
    try:  # escapes may hide half a character, and 1e999 is read as infinity
        json.dumps(raw, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (ValueError, RecursionError):
        return {}, "the arguments hold a number or a character that JSON has no form for"
    return {key: value for key, value in raw.items() if value is not None}, None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
