"""Mistral's mark, then JSON behind a name or a list of calls.

`[TOOL_CALLS]read_file[ARGS]{…}` · `[TOOL_CALLS]read_file{…}` · `[TOOL_CALLS][{"name": …, "arguments": {…}}]`
"""

from __future__ import annotations

import re

from mlipilot.endpoint.dialects.reading import (
    MAX_TRIES,
    Found,
    calls_at,
    marked,
    mended,
    unreadable,
    value_at,
)

_MARK = re.compile(r"\[TOOL_CALLS\]\s*")
_NAMED = re.compile(r"([A-Za-z_][\w.-]{0,63})(?:\[CALL_ID\]\w{1,64})?(?:\[ARGS\])?\s*(?=\{)")


def calls_in(text: str) -> list[Found]:
    """The calls behind the marks."""
    marks = marked(text, _MARK)
    found: list[Found] = []
    end = 0
    for number, mark in enumerate(marks):
        if mark.start() < end:  # inside the arguments of the call before
            continue
        following = marks[number + 1].start() if number + 1 < len(marks) else len(text)
        calls, end = _calls(text, mark.end(), following)
        found += [call._replace(at=mark.start()) for call in calls]
    return found


def _calls(text: str, start: int, stop: int) -> tuple[list[Found], int]:
    """The calls behind one mark; the next mark, which may stand inside of them, is at `stop`."""
    named = _NAMED.match(text, start)
    if named is None:
        calls, end = calls_at(text, start, MAX_TRIES)
        body = text[start:stop]
        return calls or mended(body, start) or unreadable(body, start), end
    read = value_at(text, named.end())
    if read is None:  # the arguments say themselves what is wrong with them
        return [Found(start, named.group(1), text[named.end() : stop])], stop
    return [Found(start, named.group(1), read[0])], read[1]
