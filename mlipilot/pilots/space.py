"""The declared space of a campaign: which values of recipe.yaml a search may set, and to what.

It is part of the campaign file, so that every pilot that searches it has the same one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from pydantic import (
    BaseModel,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from mlipilot.nearness import did_you_mean
from mlipilot.paths import RECIPE as RECIPE
from mlipilot.untrusted import one_line
from mlipilot.yaml_places import editable_places
from mlipilot.yaml_text import NotYamlError, parse_yaml

Scalar = bool | int | float | str


class Parameter(BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """One value of the recipe: a range of numbers, or choices, in order of size where they have one."""

    low: float | None = Field(default=None, description="the smallest value")
    high: float | None = Field(default=None, description="the largest value")
    log: bool = Field(default=False, description="whether the logarithm is what is searched")
    integer: bool = Field(default=False, description="whether only whole numbers are meant")
    choices: list[Any] | None = Field(default=None, description="the values to choose from")

    @field_validator("choices")
    @classmethod
    def _plain(cls, choices: list[Any] | None) -> list[Any] | None:
        if choices is None:
            return None
        if not all(_is_scalar(choice) for choice in choices):
            raise ValueError("choices are numbers, words, or true and false")
        if len(choices) < 2 or len(set(choices)) < len(choices):
            raise ValueError("give at least two choices, each of them once")
        # without the YAML reader's own types, which remember how a number was written
        plain: list[Any] = json.loads(json.dumps(choices))
        return plain

    @model_validator(mode="after")
    def _range_or_choices(self) -> Parameter:
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.log or self.integer:
                raise ValueError("give either choices, or low and high with log and integer")
            return self
        if self.low is None or self.high is None:
            raise ValueError("give low and high, or choices")
        if not self.low < self.high:
            raise ValueError("low must be smaller than high")
        if self.log and self.low <= 0:
            raise ValueError("a range with log begins above 0: give zero as one of choices instead")
        if self.integer and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError("low and high of an integer are whole numbers")
        return self

    @model_serializer(mode="wrap")
    def _as_given(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in dump(self).items() if value not in (None, False)}

    @property
    def bounds(self) -> tuple[float, float]:
        """Smallest and largest value of a range."""
        if self.low is None or self.high is None:
            raise AssertionError("choices have no bounds")
        return self.low, self.high

    @property
    def text(self) -> str:
        """What the value may be, in words."""
        if self.choices is not None:
            return "one of " + ", ".join(json.dumps(choice) for choice in self.choices)
        low, high = self.bounds
        return f"{'a whole number' if self.integer else 'a number'} from {low:g} to {high:g}"

    def fits(self, value: Any) -> bool:
        """Whether `value` lies in the space."""
        if self.choices is not None:
            return any(is_same(value, choice) for choice in self.choices)
        low, high = self.bounds
        if isinstance(value, bool) or not isinstance(value, int if self.integer else int | float):
            return False
        return low <= value <= high  # which holds for no NaN


Space = dict[str, Parameter]
"""Parameters by the dotted path of their value in recipe.yaml."""


class Misfit(NamedTuple):
    """What is wrong with a path of a space for a recipe, and how to mend it."""

    path: str
    problem: str
    mend: str


def is_same(a: Any, b: Any) -> bool:
    """Equality of two values of a recipe: 1 and 1.0 are one, 1 and true are not."""
    return bool(a == b) and isinstance(a, bool) == isinstance(b, bool)


def values_in(text: str, paths: Iterable[str]) -> dict[str, Scalar]:
    """The values that a recipe.yaml has at dotted `paths`, without those that are no single values.

    A pilot may have written them: they need not lie in a space, and texts are cleaned and clipped.
    """
    leaves = leaves_of(text)
    found = {path: leaves[path] for path in paths if _is_scalar(leaves.get(path))}
    return {path: one_line(value) if isinstance(value, str) else value for path, value in found.items()}


def first_misfit(text: str, space: Space) -> Misfit | None:
    """The first path that a recipe.yaml does not have, or whose value there is not in the space."""
    leaves, places = leaves_of(text), editable_places(text, space)
    for path, parameter in space.items():
        if path not in leaves:
            return Misfit(path, f"{RECIPE} has no key {path!r}", did_you_mean(path, leaves, "its keys are"))
        if not parameter.fits(leaves[path]):
            shown = one_line(repr(leaves[path]), 60)
            return Misfit(
                path,
                f"the value in {RECIPE} is {shown}, which is not {parameter.text}",
                "the search begins from the recipe: let the space hold its value, or change the recipe",
            )
        if places[path] is None:
            return Misfit(path, f"the value in {RECIPE} is not on one line", "write it out on one line")
    return None


def leaves_of(text: str) -> dict[str, Any]:
    """Every value of a YAML mapping that is no mapping itself, by dotted path; none for any other text."""
    try:
        content = parse_yaml(text)
        return dict(_walk(content, "")) if isinstance(content, dict) else {}
    except (NotYamlError, RecursionError):  # an alias may hold itself
        return {}


def _walk(mapping: dict[Any, Any], prefix: str) -> list[tuple[str, Any]]:
    leaves: list[tuple[str, Any]] = []
    for key, value in mapping.items():
        path = f"{prefix}{key}"
        leaves += _walk(value, f"{path}.") if isinstance(value, dict) else [(path, value)]
    return leaves


def _is_scalar(value: Any) -> bool:
    return isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))
