"""What a field of a model may hold and what it may not, by values of each: its types in tests' words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError


@dataclass(frozen=True)
class Shape:
    """Values that are read and written again as they are, and values that are refused."""

    kept: tuple[Any, ...]
    refused: tuple[Any, ...]


TEXT = Shape(("", "Å"), (None, 1, True, ["x"]))


def word(*words: str) -> Shape:
    """One of these, and no other."""
    return Shape(words, (None, "", "another", 1))


def inner(body: Mapping[str, Any]) -> Shape:
    """A model, of which `body` is one: what its fields may hold is checked where it is the outer one."""
    return Shape((body,), (None, "x", [], {**body, "stranger": 1}))


def optional(shape: Shape) -> Shape:
    """None as well."""
    return Shape((None, *shape.kept), tuple(value for value in shape.refused if value is not None))


def listed(shape: Shape) -> Shape:
    """A list of them."""
    return Shape(([], list(shape.kept)), (None, "x", {}, *([*shape.kept, value] for value in shape.refused)))


def named(shape: Shape, key: Shape = TEXT) -> Shape:
    """A mapping to them."""
    value, name = shape.kept[0], key.kept[0]
    wrong = [{name: other} for other in shape.refused] + [
        {k: value} for k in key.refused if not isinstance(k, list)
    ]
    return Shape(({}, dict.fromkeys(key.kept, value), {name: shape.kept[-1]}), (None, "x", [], *wrong))


def check(model: type[BaseModel], body: Mapping[str, Any], shapes: Mapping[str, Shape]) -> None:
    """The written fields of `model`, of which `body` is one, are these and hold what they may, no more."""
    assert shapes.keys() == {name for name, field in model.model_fields.items() if not field.exclude}
    for name, shape in shapes.items():
        for value in shape.kept:
            again = model.model_validate({**body, name: value}).model_dump(mode="json")[name]
            assert (again, type(again)) == (value, type(value)), (name, value)
        for value in shape.refused:
            with pytest.raises(ValidationError) as refused:
                model.model_validate({**body, name: value})
                pytest.fail(f"{model.__name__}.{name} takes {value!r}")
            assert {fault["loc"][0] for fault in refused.value.errors()} == {name}, (name, value)
