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
    for part in key.split("."):
        node = _child(node, part)
        if node is None or not isinstance(value, dict):
            return None
        value = value.get(part)
    assert node is not None  # noqa: S101 - a key has at least one part
    return Place(node.start_mark.index, node.end_mark.index, value)


def _child(node: Node | None, key: str) -> Node | None:
    if not isinstance(node, MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


def edit_for(text: str, place: Place, value: Any) -> tuple[str, str] | None:
    """(search, replace) in whole lines that set `place` to `value`; None when it takes up several lines."""
    if "\n" in text[place.start : place.end]:
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
