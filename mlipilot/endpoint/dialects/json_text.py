"""JSON in the text: bare, in a fence, in a list, as the reply of constrained decoding.

`{"name": "read_file", "arguments": {"path": "recipe.yaml"}}`
"""

from __future__ import annotations

import re

from mlipilot.endpoint.dialects.reading import MAX_TRIES, Found, calls_at, marked, mended

_FENCED = re.compile(r"^[ \t]*```[\w-]*[ \t]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE)
_LINE_START = re.compile(r"^[ \t]*(?=\{|\[[ \t\n]*\{)", re.MULTILINE)


def calls_in(text: str) -> list[Found]:
    """The calls in fences, else those that begin a line."""
    fences = [fence.span(1) for fence in marked(text, _FENCED)]
    in_fences = [found for fence in fences for found in _that_begin_lines(text, *fence)]
    return in_fences or _that_begin_lines(text, 0, len(text))


def _that_begin_lines(text: str, start: int, stop: int) -> list[Found]:
    found: list[Found] = []
    places = marked(text, _LINE_START, start, stop)
    end = start
    for place in places:
        if place.start() >= end:  # else inside the call before
            calls, end = calls_at(text, place.end(), MAX_TRIES)
            found += calls
    return found or (mended(text[places[0].end() : stop], places[0].end()) if places else [])
