"""DeepSeek's tokens: `BEGIN function SEP read_file` and fenced JSON (V3, R1), `BEGIN read_file SEP {…}`.

BEGIN is `<｜tool▁call▁begin｜>`. Some servers print its wide bar and its low line as plain ones.
"""

from __future__ import annotations

import re

from mlipilot.endpoint.dialects.reading import Found, marked, value_at

_BEGIN = re.compile(r"<[｜|]tool[▁_ ]call[▁_ ]begin[｜|]>")
_HEAD = re.compile(
    r"\s*([\w.-]{1,64})\s*<[｜|]tool[▁_ ]sep[｜|]>\s*(?:([\w.-]{1,64})\s*)?(?:```(?:json)?\s*)?"
)


def calls_in(text: str) -> list[Found]:
    """The calls between the tokens."""
    found: list[Found] = []
    end = 0
    for mark in marked(text, _BEGIN):
        head = _HEAD.match(text, mark.end())
        if mark.start() < end or head is None:  # inside the arguments of the call before, or no call
            continue
        name = head.group(2) or head.group(1)  # the older form begins with the word `function`
        read = value_at(text, head.end())
        # arguments that cannot be read say themselves what is wrong with them
        arguments, end = read if read is not None else (text[head.end() :], len(text))
        found.append(Found(mark.start(), name, arguments))
    return found
