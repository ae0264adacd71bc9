import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mlipilot.evaluation import handover_files
from mlipilot.evaluation.bench_settings import CrystalSettings
from mlipilot.evaluation.crystal import rattled_cell
from mlipilot.evaluation.families.mace_rebuilding import rebuild
from mlipilot.evaluation.handover_files import HandoverError
from mlipilot.handover import weights_digest

from .conftest import config_json

WEIGHT = "interactions.0.linear_up.weight"


def change_weights(model_dir: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(model_dir / "weights.safetensors")
    change(weights)
    save_file(weights, model_dir / "weights.safetensors")


def refusal(model_dir: Path) -> str:
    with pytest.raises(HandoverError) as error:
        rebuild(model_dir)
    return str(error.value)


def test_weights_come_back_bit_by_bit(model_dir: Path) -> None:
    handed = load_file(model_dir / "weights.safetensors")
    model = rebuild(model_dir)
    assert model.weights_digest == weights_digest(handed)
    assert all(torch.equal(tensor, handed[name]) for name, tensor in model.module.state_dict().items())
    assert model.parameter_count == sum(p.numel() for p in model.module.parameters())


def test_it_computes_what_mace_own_calculator_does(model_dir: Path) -> None:
    from mace.calculators import MACECalculator

    model = rebuild(model_dir)
    atoms = rattled_cell(CrystalSettings(), 3.5, 2, 0.2, seed=3)
    atoms.set_cell(atoms.cell.array @ np.array([[1, 0.05, 0], [0, 1, 0], [0, 0, 0.97]]), scale_atoms=True)
    ours, theirs = atoms.copy(), atoms.copy()
    ours.calc = model.calculator()
    theirs.calc = MACECalculator(models=[model.module], default_dtype="float64")
    assert ours.get_potential_energy() == pytest.approx(theirs.get_potential_energy(), abs=1e-10)
    np.testing.assert_allclose(ours.get_forces(), theirs.get_forces(), atol=1e-10)
    np.testing.assert_allclose(ours.get_stress(), theirs.get_stress(), atol=1e-12)


def test_a_batch_is_the_structures_one_by_one(model_dir: Path) -> None:
    model = rebuild(model_dir)
    cells = [rattled_cell(CrystalSettings(), 3.6, repeats, 0.1, seed=repeats) for repeats in (1, 2, 1)]
    for batched, atoms in zip(model.predict(cells, batch_size=2), cells, strict=True):
        (alone,) = model.predict([atoms])
        assert batched.energy_ev == pytest.approx(alone.energy_ev, abs=1e-10)
        np.testing.assert_allclose(batched.forces_ev_per_a, alone.forces_ev_per_a, atol=1e-10)
        np.testing.assert_allclose(batched.stress_ev_per_a3, alone.stress_ev_per_a3, atol=1e-12)


def test_an_element_that_the_model_does_not_know_is_named(model_dir: Path) -> None:
    atoms = rattled_cell(CrystalSettings(symbol="Ni"), 3.5, 1, 0.0, seed=0)
    with pytest.raises(ValueError, match="28"):
        rebuild(model_dir).predict([atoms])


def test_positions_that_are_no_numbers_are_refused(model_dir: Path) -> None:
    atoms = rattled_cell(CrystalSettings(), 3.6, 1, 0.0, seed=0)
    atoms.positions[0, 0] = np.nan
    with pytest.raises(ValueError, match="finite"):
        rebuild(model_dir).predict([atoms])


def test_loading_does_not_leave_unsafe_torch_load_switched_on(model_dir: Path) -> None:
    rebuild(model_dir)
    assert "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD" not in os.environ


def test_a_pickle_is_refused_and_never_loaded(model_dir: Path, tmp_path: Path) -> None:
    proof = tmp_path / "loaded"

    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (proof,))

    for name in ("model.pt", "weights.pkl", "MACE.model"):
        (model_dir / name).write_bytes(pickle.dumps(Bomb()))
        assert "pickle" in refusal(model_dir)
        (model_dir / name).unlink()
    (model_dir / "weights.safetensors").write_bytes(pickle.dumps(Bomb()))
    assert "not safetensors" in refusal(model_dir)
    assert not proof.exists()


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "sitecustomize.py"])
def test_any_other_file_is_refused(model_dir: Path, name: str) -> None:
    (model_dir / name).touch()
    assert name in refusal(model_dir)


@pytest.mark.parametrize("name", ["config.json", "weights.safetensors"])
def test_links_pipes_and_directories_are_refused(model_dir: Path, tmp_path: Path, name: str) -> None:
    original = tmp_path / "original"
    (model_dir / name).rename(original)
    assert "missing" in refusal(model_dir)
    (model_dir / name).symlink_to(original)
    assert "link" in refusal(model_dir)
    (model_dir / name).unlink()
    os.mkfifo(model_dir / name)
    assert "no regular file" in refusal(model_dir)
    (model_dir / name).unlink()
    (model_dir / name).mkdir()
    assert name in refusal(model_dir)


def test_a_linked_or_absent_model_directory_is_refused(model_dir: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(model_dir)
    assert "no plain directory" in refusal(link)
    assert "wrote no model" in refusal(tmp_path / "nowhere")


def test_an_oversize_file_is_refused_before_it_is_read(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(handover_files.MAX_BYTES, "weights.safetensors", 100)
    assert "at most 100" in refusal(model_dir)


def test_truncated_weights_are_refused(model_dir: Path) -> None:
    path = model_dir / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    assert "not safetensors" in refusal(model_dir)


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_diverged_weights_are_refused(model_dir: Path, poison: float) -> None:
    change_weights(model_dir, lambda weights: weights[WEIGHT].__setitem__(0, poison))
    assert f"{WEIGHT} has 1 NaN or infinite" in refusal(model_dir)


def test_a_wrong_shape_is_refused(model_dir: Path) -> None:
    change_weights(model_dir, lambda weights: weights.update({WEIGHT: torch.zeros(3, dtype=torch.float64)}))
    assert "has shape [3]" in refusal(model_dir)


def test_missing_and_strange_tensors_are_refused(model_dir: Path) -> None:
    change_weights(model_dir, lambda weights: weights.update(extra=torch.zeros(1, dtype=torch.float64)))
    assert "has extra" in refusal(model_dir)
    change_weights(model_dir, lambda weights: (weights.pop("extra"), weights.pop(WEIGHT)))
    assert f"lacks {WEIGHT}" in refusal(model_dir)


def test_another_number_type_is_refused(model_dir: Path) -> None:
    change_weights(model_dir, lambda weights: weights.update({WEIGHT: weights[WEIGHT].half()}))
    assert "is float16" in refusal(model_dir)


def test_a_constant_that_config_does_not_make_is_refused(model_dir: Path) -> None:
    change_weights(model_dir, lambda weights: weights["scale_shift.scale"].fill_(2.0))
    assert "scale_shift.scale" in refusal(model_dir)


def test_weights_of_another_configuration_are_refused(model_dir: Path) -> None:
    (model_dir / "config.json").write_text(json.dumps(config_json(max_ell=2)))
    assert "weights" in refusal(model_dir)


def test_what_mace_cannot_build_is_refused(model_dir: Path) -> None:
    (model_dir / "config.json").write_text(json.dumps(config_json(max_ell=4, correlation=3)))
    assert "cannot be built" in refusal(model_dir)
