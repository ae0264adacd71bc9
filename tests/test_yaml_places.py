"""Setting one value in the text of a YAML file: that value changes, and nothing else that YAML reads."""

from __future__ import annotations

from typing import Any

import pytest
from ruamel.yaml import YAML

from mlipilot.yaml_places import find_place, with_values


@pytest.mark.parametrize(
    ("text", "key", "wanted"),
    [
        ("a: 1\nb: 2\n", "b", "a: 1\nb: 5\n"),
        ("a:   1   # note\n", "a", "a:   5   # note\n"),
        ("a: 'x # y'  # note\n", "a", "a: 5        # note\n"),
        ("a: 1 # note\n", "a", "a: 5 # note\n"),
        ("a: {b: [1, 2], c: 3}\n", "a.b", "a: {b: 5, c: 3}\n"),
        ("a: {b: , c: 3}\n", "a.b", "a: {b: 5 , c: 3}\n"),
        ("a:\nb: 2\n", "a", "a: 5\nb: 2\n"),
        ("a:  # none yet\n", "a", "a: 5 # none yet\n"),
        ("a:", "a", "a: 5"),
        ("a:\n  x: 1\nb:\n  x: 1\n", "b.x", "a:\n  x: 1\nb:\n  x: 5\n"),
        ("x: 1\na: {x: 1}\nb: {x: 1}\n", "b.x", "x: 1\na: {x: 1}\nb: {x: 5}\n"),
    ],
)
def test_one_value_changes(text: str, key: str, wanted: str) -> None:
    assert with_values(text, {key: 5}) == wanted
    place = find_place(wanted, key)
    assert place is not None
    assert place.value == 5


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- 1\n",
        "a",
        "b: 1\n",
        "a: 1\n",
        "a: {c: 1}\n",
        "x: &x {b: 1}\na: {<<: *x}\n",
        "a: [b]\n",
        "a: {b: 1\n",
        "a: {b: 2001-99-99}\n",
    ],
)
def test_a_key_that_is_not_there_has_no_place(text: str) -> None:
    assert find_place(text, "a.b") is None
    assert with_values(text, {"a.b": 1}) is None


@pytest.mark.parametrize("text", ["a: |\n  x\n", "a:\n  - 1\n", "a:\n  b: 1\n", "a: [1,\n  2]\n"])
def test_a_value_over_several_lines_is_left_alone(text: str) -> None:
    assert find_place(text, "a") is not None
    assert with_values(text, {"a": 5}) is None


@pytest.mark.parametrize(
    "value", [5, -1.5e-7, True, None, "16x0e", "a: b", "true", "1.5", "", "#", "- x", "é", [1, "x"], {"a": 1}]
)
def test_a_value_is_written_so_that_it_reads_back(value: Any) -> None:
    written = with_values("a:\n  b: 1  # note\n", {"a.b": value})
    assert YAML(typ="safe").load(written) == {"a": {"b": value}}


def test_several_values_are_set_at_once_wherever_they_stand() -> None:
    text = "a: {b: 1, c: 2}  # note\nd:\n  e: 5   # last\nf:\n"
    wanted = 'a: {b: "x: y", c: 0.001}  # note\nd:\n  e: 70  # last\nf: true\n'
    assert with_values(text, {"d.e": 70, "a.c": 0.001, "f": True, "a.b": "x: y"}) == wanted
    assert with_values(text, {"d.e": 7, "a.z": 1}) is None
    assert with_values("a: |\n  x\n", {"a": "y"}) is None
