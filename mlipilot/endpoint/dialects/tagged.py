"""JSON behind a mark: Hermes and Qwen 2.5, Granite, Phi-4-mini, Llama 3.1.

`<tool_call>{"name": …, "arguments": {…}}</tool_call>` · `<tool_call>[{…}]` · `functools[{…}]` ·
`<|tool_call|>[{…}]<|/tool_call|>` · `<|python_tag|>{"name": …, "parameters": {…}}; {…}`
"""

from __future__ import annotations

import re

from mlipilot.endpoint.dialects.reading import (
    MAX_TRIES,
    Found,
    calls_at,
    marked,
    mended,
    place_of,
    unreadable,
)

_MARK = re.compile(r"<tool_call>|<\|tool_call\|>|<\|python_tag\|>|\bfunctools(?=\[)")
_END = re.compile(r"</tool_call>|<\|/tool_call\|>|<\|e[a-z]{1,3}_id\|>")


def calls_in(text: str) -> list[Found]:
    """The calls behind the marks."""
    marks = marked(text, _MARK)
    found: list[Found] = []
    end = 0
    for number, mark in enumerate(marks):
        if mark.start() < end:  # inside the JSON of the call before
            continue
        calls, end = calls_at(text, mark.end(), MAX_TRIES)
        if not calls:
            following = marks[number + 1].start() if number + 1 < len(marks) else len(text)
            body = text[mark.end() : place_of(_END, text, mark.end(), following)]
            calls = mended(body, mark.start()) or unreadable(body, mark.start())
        found += [call._replace(at=mark.start()) for call in calls]
    return found
