"""Setting one value of recipe.yaml by its dotted path: no text has to be matched, and comments stay."""

from __future__ import annotations

import json
import math
from typing import Any

from mlipilot.nearness import did_you_mean, question
from mlipilot.pilots.edit_matching import RefusedError
from mlipilot.pilots.space import RECIPE, is_same, leaves_of
from mlipilot.untrusted import one_line
from mlipilot.yaml_places import editable_places, find_place, with_values
from mlipilot.yaml_text import check_bounded, parse_yaml

_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "true or false"),
    ((int, float), "a number"),
    (str, "a word"),
    (list, "a list"),
    (dict, "a mapping"),
)


def with_value(text: str, key: str, value: Any) -> str:
    """`text`, that of a recipe.yaml, with the dotted `key` set to `value`. Raises RefusedError with the mend.

    A text for a number, a flag, a list or a mapping is read as YAML first: small models quote everything.
    """
    place = find_place(text, key)
    if place is None:
        raise RefusedError(_unknown(text, key))
    value = _as_meant(value, place.value)
    if place.value is not None and kind_of(value) != kind_of(place.value):
        now = one_line(json.dumps(place.value, default=str), 60)
        raise RefusedError(f"{key} is {now}: its value must be {kind_of(place.value)}")
    if not _is_exact(value):
        raise RefusedError(f"{key}: its numbers must be finite, and whole ones below 2**53")
    if editable_places(text, [key])[key] is None:
        inside = [path for path in leaves_of(text) if path.startswith(f"{key}.")]
        one_by_one = f"set one of {', '.join(inside[:20])}" if inside else "use replace_in_file"
        raise RefusedError(f"the value of {key} stands on several lines: {one_by_one}")
    if is_same(place.value, value):
        raise RefusedError(f"the edit changes nothing: {key} is {_another(place.value)}, or another key")
    edited = with_values(text, {key: value})
    assert edited is not None  # noqa: S101 - its place is on one line
    return edited


def _as_meant(value: Any, old: Any) -> Any:
    if not isinstance(value, str) or isinstance(old, str):
        return value
    try:
        check_bounded(value)
        return json.loads(json.dumps(parse_yaml(value)))
    except (ValueError, TypeError):  # no YAML, or of a type that JSON does not know, such as a date
        return value


def kind_of(value: Any) -> str:
    """What a value is, in words."""
    return next((name for kind, name in _KINDS if isinstance(value, kind)), "nothing")


def _another(value: Any) -> str:
    """What stands there, and what might instead: small models do not find a new value by themselves."""
    now = f"{one_line(json.dumps(value, default=str), 60)} already; set another value"
    if isinstance(value, bool) or not isinstance(value, int | float) or value == 0 or not _is_exact(value):
        return now
    return f"{now}, such as {value * 2 if isinstance(value, int) else value / 2:g}"


def _is_exact(value: Any) -> bool:
    """Whether every number in it is one that any reader of YAML or JSON takes for the same."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return abs(value) < 2**53
    if isinstance(value, dict):
        value = list(value.values())
    return all(map(_is_exact, value)) if isinstance(value, list) else True


def _unknown(text: str, key: str) -> str:
    known = leaves_of(text)
    same_name = [path for path in known if path.rpartition(".")[2] == key.rpartition(".")[2]]
    mend = question(same_name[:3]) or did_you_mean(key, known, "its keys are", most=3)
    return f"{RECIPE} has no key {key[:100]!r}; {mend} (replace_in_file adds a new one)"
