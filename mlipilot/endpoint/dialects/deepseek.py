"""DeepSeek's tokens: `BEGIN function SEP read_file` and fenced JSON (V3, R1), `BEGIN read_file SEP {…}`.

BEGIN is `<｜tool▁call▁begin｜>`. Some servers print its wide bar and its low line as plain ones.
"""

from __future__ import annotations

import re

from mlipilot.endpoint.dialects.reading import Found, behind_marks, value_at

_BEGIN = re.compile(r"<[｜|]tool[▁_ ]call[▁_ ]begin[｜|]>")
_HEAD = re.compile(
    r"\s*([\w.-]{1,64})\s*<[｜|]tool[▁_ ]sep[｜|]>\s*(?:([\w.-]{1,64})\s*)?(?:```(?:json)?\s*)?"
)


def calls_in(text: str) -> list[Found]:
    """The calls between the tokens."""
    return behind_marks(text, _BEGIN, _call)


def _call(text: str, mark: re.Match[str], _: int) -> tuple[list[Found], int]:
    head = _HEAD.match(text, mark.end())
    if head is None:
        return [], mark.end()
    name = head.group(2) or head.group(1)  # the older form begins with the word `function`
    # arguments that cannot be read say themselves what is wrong with them
    arguments, end = value_at(text, head.end()) or (text[head.end() :], len(text))
    return [Found(mark.start(), name, arguments)], end
