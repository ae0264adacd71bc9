"""What a run is made of when it begins."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from mlipilot.campaign.paths import RunPaths
from mlipilot.campaign.spec import load_campaign
from mlipilot.controller.prepare import create_run
from mlipilot.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[2]
QM7 = REPOSITORY / "campaigns" / "qm7_b3lyp.yaml"


def test_the_campaigns_values_are_in_the_runs_recipe_and_not_in_the_shipped_one(tmp_path: Path) -> None:
    campaign, run = load_campaign(QM7), RunPaths(tmp_path / "run")
    shipped = (campaign.recipe_path / "recipe.yaml").read_text()
    create_run(campaign, run)
    found = YAML(typ="safe").load((run.recipe / "recipe.yaml").read_text())
    assert found["normalisation"]["atomic_energy"] == "zero"
    assert found["normalisation"]["isolated_atom_ev"]["S"] == pytest.approx(-10832.99, abs=0.01)
    assert (campaign.recipe_path / "recipe.yaml").read_text() == shipped


def test_paths_of_a_data_set_are_seen_from_the_campaign_file() -> None:
    overrides = ["dataset.options={source: qm7, qm7: ../data/qm7.mat, seed: 3}"]
    options = load_campaign(QM7, None, overrides).spec.dataset.options
    assert options == {"source": "qm7", "qm7": str(REPOSITORY / "data" / "qm7.mat"), "seed": 3}


def test_a_value_that_the_recipe_has_not_is_refused_before_there_is_a_run() -> None:
    with pytest.raises(InputError, match=r"'recipe_values\.loss\.force'"):
        load_campaign(QM7, None, ["recipe_values={loss.force: 1.0}"])
