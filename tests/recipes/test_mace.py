"""The MACE recipe as the controller starts it: JSON lines on stdout and a clear exit status."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import ase.io
import pytest
from ase.build import molecule

from tests.recipes.conftest import SOURCE, Train, recipe, train


@pytest.mark.slow
def test_two_processes_with_one_seed_end_with_the_same_weights(tmp_path: Path, data: Path) -> None:
    folder = recipe(tmp_path, ema__decay=0.9, schedule__kind="one_cycle")
    status, first = train(folder, data, tmp_path / "a")
    assert status == 0
    assert [event["event"] for event in first] == ["start"] + ["progress"] * (len(first) - 2) + ["done"]
    assert first[-2]["step"] == first[-2]["steps_total"] == 6
    measured = {"valid_energy_mae_mev_per_atom", "valid_force_mae_mev_per_a", "valid_stress_mae_gpa"}
    assert measured <= first[-2].keys()
    _, again = train(folder, data, tmp_path / "b")
    _, other = train(folder, data, tmp_path / "c", seed=2)
    assert again[-1]["weights_digest"] == first[-1]["weights_digest"] != other[-1]["weights_digest"]
    assert sorted(p.name for p in (tmp_path / "a/model").iterdir()) == ["config.json", "weights.safetensors"]


def test_a_stress_that_is_not_labelled_is_not_validated(
    tmp_path: Path, data: Path, train_here: Train
) -> None:
    shutil.copytree(data, tmp_path / "data")
    for file in (tmp_path / "data" / "train").glob("*.xyz"):
        frames = ase.io.read(file, index=":")
        for atoms in frames:
            del atoms.info["REF_stress"]
        ase.io.write(file, frames, format="extxyz")
    status, events = train_here(recipe(tmp_path), tmp_path / "data", tmp_path / "out", steps=2)
    assert status == 0
    assert "valid_force_mae_mev_per_a" in events[-2] and "valid_stress_mae_gpa" not in events[-2]


def test_every_option_trains(tmp_path: Path, data: Path, train_here: Train) -> None:
    folder = recipe(
        tmp_path,
        normalisation__atomic_energy="isolated_atom",
        normalisation__scale="rms_forces",
        normalisation__avg_num_neighbors="measured",
        loss__kind="huber",
        loss__energy_per_atom=False,
        loss__stress=10.0,
        loss__stage_two_from=0.5,
        loss__config_type_weights={"compressed": 0.5},
        optimiser__clip_gradient_norm=1.0,
        schedule__kind="cosine",
        device__train_dtype="float64",
    )
    status, events = train_here(folder, data, tmp_path / "out", steps=4)
    assert (status, events[-1]["event"]) == (0, "done")
    arguments = json.loads((tmp_path / "out/model/config.json").read_text())["arguments"]
    assert arguments["avg_num_neighbors"] > 10
    assert arguments["atomic_energies"] == [3.51]


@pytest.fixture
def molecules(tmp_path: Path) -> Path:
    """Four of C, H, N and O to learn from, one of H and O to validate with; labels of no meaning."""
    (tmp_path / "molecules" / "train").mkdir(parents=True)
    for file, names in (("train.xyz", ("H2CO", "NH3", "CO2", "H2O")), ("valid.xyz", ("H2O",))):
        frames = [molecule(name) for name in names]
        for atoms in frames:
            atoms.info["REF_energy"], atoms.arrays["REF_forces"] = -5.0 * len(atoms), 0.1 * atoms.positions
        ase.io.write(tmp_path / "molecules" / "train" / file, frames, format="extxyz")
    return tmp_path / "molecules"


def test_elements_are_those_of_the_training_set(tmp_path: Path, molecules: Path, train_here: Train) -> None:
    status, events = train_here(recipe(tmp_path), molecules, tmp_path / "out", steps=2)
    assert (status, events[-1]["event"]) == (0, "done"), events
    assert events[-2]["valid_force_mae_mev_per_a"] > 0
    arguments = json.loads((tmp_path / "out/model/config.json").read_text())["arguments"]
    assert arguments["atomic_numbers"] == [1, 6, 7, 8]


def test_an_element_to_validate_with_that_train_lacks_is_named(
    tmp_path: Path, molecules: Path, train_here: Train
) -> None:
    train, valid = (molecules / "train" / name for name in ("train.xyz", "valid.xyz"))
    train.rename(train.with_name("all.xyz"))
    valid.rename(train)
    train.with_name("all.xyz").rename(valid)
    status, events = train_here(recipe(tmp_path), molecules, tmp_path / "out", steps=2)
    assert (status, events[-1]["event"]) == (2, "failed")
    assert "valid.xyz has C, N, of which there is nothing in train.xyz" in events[-1]["reason"]


def test_divergence_stops_with_its_reason(tmp_path: Path, data: Path, train_here: Train) -> None:
    status, events = train_here(recipe(tmp_path, optimiser__learning_rate=1e30), data, tmp_path / "out")
    assert status == 3
    assert events[-1]["event"] == "failed"
    assert "diverged" in events[-1]["reason"]
    assert not (tmp_path / "out/model").exists()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("model: [", "cannot be read"),
        ("just text", "must be a mapping"),
        ("modle: {}", "unknown key modle; did you mean model"),
    ],
)
def test_a_file_that_is_no_recipe(tmp_path: Path, script: Any, text: str, reason: str) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(script["RecipeError"], match=reason):
        script["read_recipe"](tmp_path / "recipe.yaml")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"loss__enery": 1.0}, "unknown key loss.enery; did you mean energy"),
        ({"loss__energy": "high"}, "loss.energy is 'high'"),
        ({"loss__energy": float("nan")}, "loss.energy is 'nan'"),
        ({"budget__steps": True}, "budget.steps is 'True'"),
        ({"budget__batch_size": -1}, "budget.batch_size is '-1'"),
        (
            {"schedule__kind": "onecycle"},
            "schedule.kind is 'onecycle' but must be one of constant, one_cycle",
        ),
    ],
)
def test_a_wrong_value_names_its_key(
    tmp_path: Path, script: Any, change: dict[str, Any], reason: str
) -> None:
    with pytest.raises(script["RecipeError"], match=reason):
        script["read_recipe"](recipe(tmp_path, **change) / "recipe.yaml")


def test_an_element_without_the_energy_of_its_free_atom_is_named(script: Any) -> None:
    norm = {"atomic_energy": "isolated_atom", "isolated_atom_ev": {"H": -13.6}}
    assert script["atomic_energies"]([], [1], norm) == [-13.6]
    with pytest.raises(script["RecipeError"], match="isolated_atom_ev has no energy of C, O"):
        script["atomic_energies"]([], [1, 6, 8], norm)


def test_a_bad_recipe_ends_with_status_2_and_one_event(tmp_path: Path, data: Path, train_here: Train) -> None:
    status, events = train_here(recipe(tmp_path, loss__enery=1.0), data, tmp_path / "out")
    assert status == 2
    assert [event["event"] for event in events] == ["failed"]


def test_a_model_that_mace_cannot_build_is_a_bad_recipe(
    tmp_path: Path, data: Path, train_here: Train
) -> None:
    status, events = train_here(recipe(tmp_path, model__gate="relu"), data, tmp_path / "out")
    assert (status, events[-1]["event"]) == (2, "failed")
    assert "MACE refuses the model section: KeyError: 'relu'" in events[-1]["reason"]


def test_more_data_than_one_epoch_and_batches_larger_than_the_set(
    tmp_path: Path, data: Path, train_here: Train
) -> None:
    status, events = train_here(recipe(tmp_path, budget__batch_size=50), data, tmp_path / "out", steps=2)
    assert (status, events[-1]["event"]) == (0, "done")


def test_the_recipe_imports_nothing_of_mlipilot_but_checkpoint_and_hand_over() -> None:
    lines = [line.strip() for line in (SOURCE / "train.py").read_text().splitlines()]
    imports = [line for line in lines if line.startswith(("import mlipilot", "from mlipilot"))]
    assert imports == [
        "from mlipilot.checkpoint import Batches, Checkpoint",
        "from mlipilot.handover import write_handover",
    ]
