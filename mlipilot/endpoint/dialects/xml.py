"""Tags for a function and its parameters: Qwen3-Coder, and Llama 3.1 with JSON between the tags.

`<function=read_file><parameter=path>recipe.yaml</parameter></function>` · `<function=NAME>{…}</function>`
"""

from __future__ import annotations

import re

from mlipilot.endpoint.dialects.reading import Found, behind_marks, value_at

_FUNCTION = re.compile(r"<function=([\w.-]{1,64})>\s*")
_PARAMETER = re.compile(r"\s*<parameter=([\w.-]{1,64})>")
_CLOSE = "</parameter>"


def calls_in(text: str) -> list[Found]:
    """The calls between the tags; every parameter is a string, whatever the tool wants it to be."""
    return behind_marks(text, _FUNCTION, _call)


def _call(text: str, opening: re.Match[str], _: int) -> tuple[list[Found], int]:
    at, name, end = opening.start(), opening.group(1), opening.end()
    read = value_at(text, end) if text.startswith("{", end) else None
    if read is not None:
        return [Found(at, name, read[0])], read[1]
    arguments: dict[str, str] = {}
    while (tag := _PARAMETER.match(text, end)) is not None:
        close = text.find(_CLOSE, tag.end())
        if close < 0:
            return [Found(at, name, None, f"the parameter {tag.group(1)} has no {_CLOSE}")], len(text)
        arguments[tag.group(1)] = _value(text[tag.end() : close])
        end = close + len(_CLOSE)
    return [Found(at, name, arguments)], end


def _value(text: str) -> str:
    """Without the one line break that the template puts on either side."""
    return text.removeprefix("\n").removesuffix("\n")
