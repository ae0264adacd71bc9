"""A declared space: what may be declared, what fits, and what is read from a recipe that anybody wrote."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from mlipilot.pilots.space import Parameter, Scalar, Space, first_misfit, values_in
from mlipilot.yaml_places import with_values
from tests.pilots.conftest import RECIPE_YAML

SPACE: Space = {
    "loss.forces": Parameter(low=1, high=1000, log=True),
    "ema.decay": Parameter(choices=[0.0, 0.9, 0.99]),
    "model.hidden_irreps": Parameter(choices=["4x0e", "16x0e + 16x1o"]),
}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "give low and high, or choices"),
        ({"low": 1}, "give low and high, or choices"),
        ({"low": 2, "high": 2}, "low must be smaller than high"),
        ({"low": 0, "high": 1, "log": True}, "begins above 0"),
        ({"low": 0.5, "high": 3, "integer": True}, "whole numbers"),
        ({"low": 0, "high": math.inf}, "finite"),
        ({"low": 0, "high": 1, "choices": [1, 2]}, "either choices, or low and high"),
        ({"choices": [1, 2], "log": True}, "either choices, or low and high"),
        ({"choices": [1]}, "at least two choices"),
        ({"choices": [1, 1.0]}, "each of them once"),
        ({"choices": [[64], [32]]}, "numbers, words, or true and false"),
        ({"choices": [1.0, math.nan]}, "numbers, words, or true and false"),
        ({"low": 0, "high": 1, "step": 2}, "Extra inputs"),
    ],
)
def test_a_parameter_that_cannot_be_is_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Parameter.model_validate(given)


@pytest.mark.parametrize(
    ("parameter", "good", "bad"),
    [
        (Parameter(low=0, high=2), [0, 2.0, 0.1], [-0.1, 2.1, True, "1", None, math.nan, [1]]),
        (Parameter(low=1, high=3, integer=True), [1, 3], [1.0, 2.5, 0, 4, True]),
        (Parameter(choices=[0.0, "a", True]), [0, 0.0, "a", True], [False, 1, "b", None]),
    ],
)
def test_what_fits(parameter: Parameter, good: list[Any], bad: list[Any]) -> None:
    assert all(parameter.fits(value) for value in good)
    assert not any(parameter.fits(value) for value in bad)


def test_a_space_is_dumped_as_it_was_given_and_reads_back() -> None:
    adapter = TypeAdapter(Space)
    dumped = adapter.dump_python(SPACE, mode="json")
    assert dumped["loss.forces"] == {"low": 1.0, "high": 1000.0, "log": True}
    assert dumped["ema.decay"] == {"choices": [0.0, 0.9, 0.99]}
    assert adapter.validate_json(json.dumps(dumped)) == SPACE


def test_values_are_set_and_read_back_and_comments_stay() -> None:
    wanted: dict[str, Scalar] = {
        "loss.forces": 1.5e-7,
        "ema.decay": 0.99,
        "model.hidden_irreps": "16x0e + 16x1o",
    }
    text = with_values(RECIPE_YAML, wanted)
    assert text is not None
    assert values_in(text, SPACE) == wanted
    assert text.count("# weight of the forces") == 1
    assert with_values(RECIPE_YAML, {"loss.nothing": 1}) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ema: {decay: 0.9}\nloss: {forces: [1]}\n", {"ema.decay": 0.9}),
        ("ema: {decay: .nan}\nloss: {forces: .inf}\n", {}),
        ('ema: {decay: "a\\e[31m\\nb"}\n', {"ema.decay": "a b"}),
        ("- 1\n", {}),
        ("ema: {decay", {}),
        ("&a {ema: *a}", {}),
        ("ema: 2001-99-99\n", {}),
    ],
)
def test_of_a_recipe_that_a_pilot_broke_what_is_there_is_read(text: str, found: dict[str, Any]) -> None:
    assert values_in(text, SPACE) == found


def test_a_space_that_fits_its_recipe_has_no_misfit() -> None:
    assert first_misfit(RECIPE_YAML, SPACE) is None


@pytest.mark.parametrize(
    ("path", "parameter", "problem", "mend"),
    [
        ("loss.force", {"low": 1, "high": 2}, "has no key 'loss.force'", "did you mean 'loss.forces'?"),
        ("loss", {"low": 1, "high": 2}, "has no key 'loss'", "did you mean|its keys are"),
        ("loss.forces", {"low": 1, "high": 2}, "is 100.0, which is not a number from 1 to 2", "begins from"),
        ("ema.decay", {"choices": [0.5, 0.9]}, "is 0.0, which is not one of 0.5, 0.9", "begins from"),
        ("schedule.kind", {"choices": ["Constant", "x"]}, "is 'constant', which is not", "begins from"),
    ],
)
def test_a_misfit_is_named_with_its_mend(path: str, parameter: Any, problem: str, mend: str) -> None:
    misfit = first_misfit(RECIPE_YAML, {**SPACE, path: Parameter.model_validate(parameter)})
    assert misfit is not None and misfit.path == path
    assert problem in misfit.problem
    assert any(part in misfit.mend for part in mend.split("|"))


def test_a_value_over_several_lines_is_a_misfit() -> None:
    misfit = first_misfit("a: >-\n  x\n", {"a": Parameter(choices=["x", "y"])})
    assert misfit is not None and "not on one line" in misfit.problem
