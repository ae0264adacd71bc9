"""Where the value of a dotted key stands in the text of a YAML file, so that an edit keeps its comments."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node

from mlipilot.pilots.edits import RefusedError, replace_once


class Place(NamedTuple):
    """A value in a text: its span in characters, and what it is now."""

    start: int
    end: int
    value: Any


def find_place(text: str, key: str) -> Place | None:
    """The place of the dotted `key`; None when there is none, or the text is no YAML mapping."""
    yaml = YAML(typ="safe", pure=True)
    try:
        node: Node | None = yaml.compose(text)
        value = yaml.load(text)
    except YAMLError:
        return None
    after_key = 0
    for part in key.split("."):
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


def edit_for(text: str, key: str, value: Any) -> tuple[str, str] | None:
    """(search, replace) in whole lines that set `key` to `value`; None when its value is not on one line."""
    place = find_place(text, key)
    if place is None or "\n" in text[place.start : place.end]:
        return None
    written = _written(value)
    if text[place.start - 1 : place.start] == ":":  # a key without a value
        written = " " + written
    wanted = text[: place.start] + written + _realigned(text[place.end :], place, written)
    start = text.rfind("\n", 0, place.start) + 1
    end = text.find("\n", place.end)
    end = len(text) if end < 0 else end
    while True:
        search = text[start:end]
        replace = wanted[start : end + len(wanted) - len(text)]
        try:
            if replace_once(text, search, replace) == wanted:
                return search, replace
        except RefusedError:
            pass  # the same line stands elsewhere, too: take the one above it along
        if start == 0:
            return None
        start = text.rfind("\n", 0, start - 1) + 1


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
            if YAML(typ="safe", pure=True).load(value) == value:
                return value
        except YAMLError:
            pass
    return json.dumps(value, ensure_ascii=False)
