"""What all dialects share: a call as it was found, and JSON read as far as it leaves nothing to guess."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from itertools import islice
from typing import Any, NamedTuple

MAX_TRIES = 64
"""So many places of a text are looked at: what repeats a dialect's mark without end costs no more."""
_MAX_LITERAL = 100_000
_MAX_OPEN = 64
_BRACKETS = re.compile(r'"[^"\\]*(?:\\(?:.|\Z)[^"\\]*)*(?P<closed>"?)|[\[\]{}]', re.DOTALL)
_NAME = re.compile(r'"(?:name|tool)"\s{0,9}:\s{0,9}"([\w.-]{1,64})"')
_NEXT = re.compile(r"[^\s,;]")


class Found(NamedTuple):
    """A call as it stood in a reply."""

    at: int
    """Where in the text it begins."""
    name: str
    arguments: Any
    """As given: a dictionary, JSON in a string, nothing, or anything else."""
    problem: str | None = None
    """Why it cannot be carried out, where the dialect knows."""


def marked(text: str, mark: re.Pattern[str], start: int = 0, stop: int | None = None) -> list[re.Match[str]]:
    """The first places of a mark."""
    return list(islice(mark.finditer(text, start, len(text) if stop is None else stop), MAX_TRIES))


def behind_marks(
    text: str, mark: re.Pattern[str], read: Callable[[str, re.Match[str], int], tuple[list[Found], int]]
) -> list[Found]:
    """The calls behind each mark that stands in no call before it.

    `read` is given the text, a mark and where the next one begins, which may be inside of the call; it
    returns the mark's calls and where they end.
    """
    marks = marked(text, mark)
    following = [*(each.start() for each in marks), len(text)][1:]
    found: list[Found] = []
    end = 0
    for each, stop in zip(marks, following, strict=True):
        if each.start() >= end:
            calls, end = read(text, each, stop)
            found += [call._replace(at=each.start()) for call in calls]
    return found


def place_of(mark: re.Pattern[str], text: str, start: int, stop: int | None = None) -> int:
    """Where a mark is found first from `start` on, or `stop`, or the text's end."""
    stop = len(text) if stop is None else stop
    found = mark.search(text, start, stop)
    return found.start() if found else stop


def value_at(text: str, start: int) -> tuple[Any, int] | None:
    """The JSON value that begins at `start`, and where it ends; line breaks inside strings are let pass."""
    try:
        return _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):  # no JSON, or nested beyond all reason
        return None


def calls_at(text: str, start: int, limit: int) -> tuple[list[Found], int]:
    """The calls whose JSON begins at `start`, parted by blanks, commas or semicolons, and where they end."""
    found: list[Found] = []
    end = place_of(_NEXT, text, start)
    while end < len(text) and text[end] in "{[" and len(found) < limit:
        read = value_at(text, end)
        if read is None:
            break
        found += calls_of(read[0], end)
        end = place_of(_NEXT, text, read[1])
    return found, end


def calls_of(value: Any, at: int) -> list[Found]:
    """The calls that a decoded value is: one, a list of them, or a wrapper around such a list."""
    if isinstance(value, dict) and isinstance(value.get("tool_calls"), list):
        value = value["tool_calls"]
    entries = value if isinstance(value, list) else [value]
    return [found for entry in entries if (found := call_of(entry, at)) is not None]


def call_of(value: Any, at: int, *, bare: bool = False) -> Found | None:
    """`value` as a call, if it has the shape of one: a tool, or a name and, unless `bare`, arguments."""
    if not isinstance(value, dict):
        return None
    body = value["function"] if isinstance(value.get("function"), dict) else value
    name = next((body[key] for key in ("name", "tool", "function") if isinstance(body.get(key), str)), None)
    keys = [key for key in ("arguments", "parameters") if key in body]
    if name is None or not (keys or bare or "tool" in body):
        return None
    return Found(at, name.strip(), body[keys[0]] if keys else None)


def mended(text: str, at: int) -> list[Found]:
    """The calls in `text` if it is a Python literal, or JSON that lacks closing brackets at its very end."""
    whole = text.strip()
    if whole[:1] not in ("{", "["):
        return []
    closed = with_closing_brackets(whole)
    read = value_at(closed, 0) if closed is not None else None
    return calls_of(python_literal(whole) if read is None else read[0], at)


def unreadable(text: str, at: int) -> list[Found]:
    """A call of which only the name can be read, so that the model is told instead of left without answer."""
    name = _NAME.search(text[:300])
    return [Found(at, name.group(1), None, "the call is not complete JSON")] if name else []


def with_closing_brackets(text: str) -> str | None:
    """`text` with the brackets that its end lacks, or None where its end may itself have been cut off.

    After a closed string or bracket nothing can be missing but brackets; a number may lack digits.
    """
    opened: list[str] = []
    closed = False
    for token in _BRACKETS.finditer(text):
        mark = token.group()
        closed = mark[0] != '"' or bool(token["closed"])
        if mark in "{[":
            opened.append("}" if mark == "{" else "]")
            if len(opened) > _MAX_OPEN:
                return None
        elif mark in "}]" and (not opened or opened.pop() != mark):
            return None
    if not closed or not opened or text[-1] not in '"}]':
        return None
    return text + "".join(reversed(opened))


def python_literal(text: str) -> Any:
    """What a Python literal stands for, or None; nothing is ever evaluated."""
    if len(text) > _MAX_LITERAL:
        return None
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def refuse_constant(name: str) -> Any:
    """For JSON decoders, which would let NaN and infinities pass. Raises ValueError."""
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=refuse_constant, strict=False)
