"""Reading a reply once, at the endpoint's edge: its prose, and its tool calls whichever way they were put.

Native `tool_calls` are best; many servers leave the call in the text instead, in the dialect that the model
learnt (`dialects/`), or in the field of its reasoning. Nothing in a reply is trusted to have its type.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from mlipilot.endpoint.dialects import calls_in
from mlipilot.endpoint.dialects.reading import Found, call_of, refuse_constant, with_closing_brackets

MAX_CALLS = 16
"""More calls than this in one reply are ignored: a model that repeats itself for ever does no harm."""

_MOST_TOKENS = 10**9
"""A greater count is nonsense, and taken as none."""
_MAX_TEXT = 200_000
_MAX_DEPTH = 32
_THOUGHT = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_REASONING_FIELDS = ("reasoning_content", "reasoning")


@dataclass(frozen=True)
class ToolCall:
    """One call as the model meant it. `problem` says why it cannot be carried out, if so."""

    name: str
    arguments: dict[str, Any]
    problem: str | None = None


@dataclass(frozen=True)
class Reply:
    """A completion as it was received, and what it says. Without anything: none came."""

    raw: dict[str, Any] = field(default_factory=dict)
    text: str = ""
    """Its prose, without thoughts; empty when the calls were found in the text itself."""
    calls: list[ToolCall] = field(default_factory=list)
    is_native: bool = False
    """Whether the calls stand where the protocol wants them."""
    finish_reason: str | None = None
    """Why the endpoint says that the reply ended; not to be trusted alone."""
    prompt_tokens: int = 0
    """As the endpoint counts them; 0 when it does not say."""
    completion_tokens: int = 0
    """As the endpoint counts them; 0 when it does not say."""

    @property
    def message(self) -> dict[str, Any]:
        """The assistant's message as it was received."""
        message: dict[str, Any] = self.raw["choices"][0]["message"]
        return message


def read_reply(raw: Any) -> Reply:
    """What an answer of `/chat/completions` says. Raises ValueError for one that holds no message.

    An endpoint's own ids of calls are not kept: some repeat them, some give none, and Mistral's servers take
    back nothing but nine alphanumerics.
    """
    choices = raw.get("choices") if isinstance(raw, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    if not isinstance(first, dict) or not isinstance(message, dict):
        raise ValueError("the answer has no message")
    content = _text(message.get("content"))
    prose = _without_thoughts(content)
    native = found = _native_calls(message)
    if not found:
        sources = [prose, content, *(_text(message.get(name)) for name in _REASONING_FIELDS)]
        found = next((calls for source in dict.fromkeys(sources) if (calls := calls_in(source))), [])
        prose = "" if found else prose
    reason = first.get("finish_reason")
    return Reply(
        raw=raw,
        text=prose,
        calls=[_tool_call(entry) for entry in found[:MAX_CALLS]],
        is_native=bool(native),
        finish_reason=reason if isinstance(reason, str) else None,
        prompt_tokens=_tokens(raw, "prompt_tokens"),
        completion_tokens=_tokens(raw, "completion_tokens"),
    )


def _tokens(raw: dict[str, Any], name: str) -> int:
    usage = raw.get("usage")
    count = usage.get(name) if isinstance(usage, dict) else None
    if not isinstance(count, int) or isinstance(count, bool):
        return 0
    return count if 0 < count <= _MOST_TOKENS else 0


def _native_calls(message: dict[str, Any]) -> list[Found]:
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


def _tool_call(found: Found) -> ToolCall:
    arguments, problem = _arguments(found.arguments) if found.problem is None else ({}, found.problem)
    # Servers refuse a conversation, for good, once a call in it has a name of other characters.
    plain_name = re.sub(r"[^A-Za-z0-9_-]", "_", found.name)[:64] or "unnamed"
    return ToolCall(plain_name, arguments, problem)


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
