"""JSON behind a mark: Hermes and Qwen 2.5, Granite, Phi-4-mini, Llama 3.1.

`<tool_call>{"name": …, "arguments": {…}}</tool_call>` · `<tool_call>[{…}]` · `functools[{…}]` ·
`<|tool_call|>[{…}]<|/tool_call|>` · `<|python_tag|>{"name": …, "parameters": {…}}; {…}`
"""

from __future__ import annotations

import re

from mlipilot.endpoint.dialects.reading import (
    MAX_TRIES,
    Found,
    behind_marks,
    calls_at,
    mended,
    place_of,
    unreadable,
)

_MARK = re.compile(r"<tool_call>|<\|tool_call\|>|<\|python_tag\|>|\bfunctools(?=\[)")
_END = re.compile(r"</tool_call>|<\|/tool_call\|>|<\|e[a-z]{1,3}_id\|>")


def calls_in(text: str) -> list[Found]:
    """The calls behind the marks."""
    return behind_marks(text, _MARK, _calls)


def _calls(text: str, mark: re.Match[str], stop: int) -> tuple[list[Found], int]:
    calls, end = calls_at(text, mark.end(), MAX_TRIES)
    body = text[mark.end() : place_of(_END, text, mark.end(), stop)]
    return calls or mended(body, mark.start()) or unreadable(body, mark.start()), end
