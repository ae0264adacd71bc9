"""Mistral's mark, then JSON behind a name or a list of calls.

`[TOOL_CALLS]read_file[ARGS]{…}` · `[TOOL_CALLS]read_file{…}` · `[TOOL_CALLS][{"name": …, "arguments": {…}}]`
"""

from __future__ import annotations

import re

from mlipilot.endpoint.dialects.reading import (
    MAX_TRIES,
    Found,
    behind_marks,
    calls_at,
    mended,
    unreadable,
    value_at,
)

_MARK = re.compile(r"\[TOOL_CALLS\]\s*")
_NAMED = re.compile(r"([A-Za-z_][\w.-]{0,63})(?:\[CALL_ID\]\w{1,64})?(?:\[ARGS\])?\s*(?=\{)")


def calls_in(text: str) -> list[Found]:
    """The calls behind the marks."""
    return behind_marks(text, _MARK, _calls)


def _calls(text: str, mark: re.Match[str], stop: int) -> tuple[list[Found], int]:
    start = mark.end()
    named = _NAMED.match(text, start)
    if named is None:
        calls, end = calls_at(text, start, MAX_TRIES)
        body = text[start:stop]
        return calls or mended(body, start) or unreadable(body, start), end
    read = value_at(text, named.end())
    if read is None:  # the arguments say themselves what is wrong with them
        return [Found(start, named.group(1), text[named.end() : stop])], stop
    return [Found(start, named.group(1), read[0])], read[1]
