"""Where the value of a dotted key stands in the text of a YAML file, so that an edit keeps its comments."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node

from mlipilot.yaml_text import NotYamlError, parse_yaml


class Place(NamedTuple):
    """A value in a text: its span in characters, and what it is now."""

    start: int
    end: int
    value: Any


def find_place(text: str, key: str) -> Place | None:
    """The place of the dotted `key`; None when there is none, or the text is no YAML mapping."""
    return _find_places(text, [key])[key]


def editable_places(text: str, keys: Iterable[str]) -> dict[str, Place | None]:
    """The places of several keys; None where there is none, or the value is not on one line."""
    places = _find_places(text, keys)
    on_one_line = {
        key for key, place in places.items() if place and "\n" not in text[place.start : place.end]
    }
    return {key: place if key in on_one_line else None for key, place in places.items()}


def _find_places(text: str, keys: Iterable[str]) -> dict[str, Place | None]:
    try:
        value = parse_yaml(text)
        node: Node | None = YAML(typ="safe", pure=True).compose(text)
    except NotYamlError:
        return dict.fromkeys(keys)
    return {key: _place(text, node, value, key.split(".")) for key in keys}


def with_values(text: str, values: Mapping[str, Any]) -> str | None:
    """`text` with dotted keys set to values; None when one has no place, or its value is not on one line."""
    places = editable_places(text, values)
    found = [(place, values[key]) for key, place in places.items() if place is not None]
    if len(found) < len(values):
        return None
    for place, value in sorted(found, key=lambda pair: -pair[0].start):  # the places before one stay
        text = _replaced(text, place, value)
    return text


def _place(text: str, node: Node | None, value: Any, parts: list[str]) -> Place | None:
    after_key = 0
    for part in parts:
        if not isinstance(node, MappingNode) or not isinstance(value, dict) or part not in value:
            return None
        pair = next((pair for pair in node.value if pair[0].value == part), None)
        if pair is None:  # it comes by a merge from elsewhere
            return None
        name, node = pair
        after_key, value = name.end_mark.index, value[part]
    assert node is not None  # noqa: S101 - a key has at least one part
    if node.start_mark.index == node.end_mark.index:  # no value: its mark may lie anywhere behind the colon
        colon = text.index(":", after_key)
        return Place(colon + 1, colon + 1, None)
    return Place(node.start_mark.index, node.end_mark.index, value)


def _replaced(text: str, place: Place, value: Any) -> str:
    written = _written(value)
    if text[place.start - 1 : place.start] == ":":  # a key without a value
        written = " " + written
    return text[: place.start] + written + _realigned(text[place.end :], place, written)


def _realigned(rest: str, place: Place, written: str) -> str:
    """The text after the value, a comment on the same line staying in its column where it can."""
    blanks = len(rest) - len(rest.lstrip(" "))
    if rest[blanks : blanks + 1] != "#":
        return rest
    return " " * max(1, blanks + place.end - place.start - len(written)) + rest[blanks:]


def _written(value: Any) -> str:
    """`value` on one line: a plain word where YAML reads it back as the same, else JSON, which is YAML."""
    if isinstance(value, str) and value.isprintable() and not set(value) & set("#:,[]{}\"'&*!|>%@` "):
        try:
            if parse_yaml(value) == value:
                return value
        except NotYamlError:
            pass
    return json.dumps(value, ensure_ascii=False)
