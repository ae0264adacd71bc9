"""One recipe serves several data sets: a campaign sets values of its recipe.yaml, comments kept."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from mlipilot.campaign.baseline_recipe import check_recipe_values, set_recipe_values
from mlipilot.campaign.spec import RECIPES
from mlipilot.errors import InputError

VALUES = {
    "model.hidden_irreps": "8x0e",
    "optimiser.learning_rate": 0.05,
    "loss.config_type_weights": {},
    "normalisation.isolated_atom_ev": {"H": -13.6, "O": -2042.5},
    "loss.stage_two": {"energy": 1.0, "forces": 10.0, "stress": 0.0},
}


def test_values_are_set_and_all_else_stays(tmp_path: Path) -> None:
    recipe = Path(shutil.copytree(RECIPES / "mace", tmp_path / "recipe"))
    before = (recipe / "recipe.yaml").read_text()
    set_recipe_values(recipe, VALUES)
    after = (recipe / "recipe.yaml").read_text()
    wanted = YAML(typ="safe").load(before)
    for key, value in VALUES.items():
        section, name = key.split(".")
        wanted[section][name] = value
    assert YAML(typ="safe").load(after) == wanted
    assert after.count("#") == before.count("#")


def test_a_path_that_the_recipe_has_not_is_named_with_its_line() -> None:
    data = YAML().load("name: x\nrecipe_values:\n  optimiser.learning_rate: 0.1\n  optimiser.rate: 0.1\n")
    check_recipe_values({"optimiser.learning_rate": 0.1}, RECIPES / "mace", data, Path("c.yaml"))
    with pytest.raises(InputError, match=r"c\.yaml:4.*'recipe_values\.optimiser\.rate'"):
        check_recipe_values(data["recipe_values"], RECIPES / "mace", data, Path("c.yaml"))
    with pytest.raises(InputError, match="cannot be read"):
        check_recipe_values(data["recipe_values"], Path("nowhere"), data, Path("c.yaml"))
