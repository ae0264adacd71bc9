"""How models write a tool call into their text: one module a family, each a function of the text alone.

None of them raises, and the work of each is bounded by the text's length, whatever it holds.
"""

from __future__ import annotations

from collections.abc import Callable

from mlipilot.endpoint.dialects import deepseek, json_text, mistral, pythonic, tagged, xml
from mlipilot.endpoint.dialects.reading import Found

DIALECTS: dict[str, Callable[[str], list[Found]]] = {
    "tagged": tagged.calls_in,
    "xml": xml.calls_in,
    "mistral": mistral.calls_in,
    "deepseek": deepseek.calls_in,
    "pythonic": pythonic.calls_in,
    "json": json_text.calls_in,
}


def calls_in(text: str) -> list[Found]:
    """The calls in `text`, by the dialect whose first call comes first.

    A dialect's marks may also stand inside the argument of a call in another, such as a file's new content.
    """
    readings = [calls for read in DIALECTS.values() if (calls := read(text))]
    return min(readings, key=lambda calls: calls[0].at, default=[])
