from collections.abc import Sequence
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import Calculator

from mlipilot.errors import InputError
from mlipilot.evaluation.bench import Bench
from mlipilot.evaluation.crystal import reference_calculator
from mlipilot.evaluation.families import Prediction
from mlipilot.evaluation.metric_settings import EvaluationSettings
from mlipilot.evaluation.metrics import accuracy

from ..conftest import write_labelled


class Shifted(Bench):
    """Predicts the labels and a known error."""

    def predict(self, structures: Sequence[Atoms]) -> list[Prediction]:
        found = []
        for index, atoms in enumerate(structures):
            forces = atoms.arrays["REF_forces"].copy()
            forces[0, 0] += 0.3  # eV/Å, one component of 4 atoms × 3
            sign = (-1) ** index
            stress = atoms.info["REF_stress"].reshape(3, 3)[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
            stress = stress + sign * 2.0 * units.GPa
            energy = atoms.info["REF_energy"] + sign * (index + 1) * 0.004 * len(atoms)
            found.append(Prediction(energy, forces, stress))
        return found


def shifted(data: Path) -> Shifted:
    settings = EvaluationSettings()
    return Shifted(reference_calculator(settings.crystal), settings, data=data)


def test_known_residuals_give_known_errors_in_their_units(data_dir: Path) -> None:
    values = accuracy.measure(shifted(data_dir)).values
    assert values["energy_mae_mev_per_atom"] == pytest.approx((4 + 8 + 12) / 3)
    assert values["energy_rmse_mev_per_atom"] == pytest.approx(np.sqrt((16 + 64 + 144) / 3))
    assert values["energy_worst_mev_per_atom"] == pytest.approx(12)
    assert values["force_mae_mev_per_a"] == pytest.approx(300 / 12)
    assert values["force_rmse_mev_per_a"] == pytest.approx(300 / np.sqrt(12))
    assert values["force_worst_ev_per_a"] == pytest.approx(0.3)
    for kind in ("mae", "rmse", "worst"):
        assert values[f"stress_{kind}_gpa"] == pytest.approx(2.0)


def test_the_calculator_that_labelled_has_no_error(data_dir: Path) -> None:
    settings = EvaluationSettings()
    emt = Bench.with_data(reference_calculator(settings.crystal), settings, data_dir)
    for found in (accuracy.measure(emt), accuracy.measure(emt, "large_cell_")):
        explained = found.values.pop("force_variance_explained", 1.0)
        assert explained == pytest.approx(1.0)
        assert max(found.values.values()) < 1e-3  # the file holds eight decimals


class Scaled(Bench):
    """Predicts the forces of the labels times a factor, and nothing else."""

    factor = 1.0

    def predict(self, structures: Sequence[Atoms]) -> list[Prediction]:
        return [
            Prediction(0.0, self.factor * atoms.arrays["REF_forces"], np.zeros(6)) for atoms in structures
        ]


@pytest.mark.parametrize("factor", [0.0, 1.0, 0.5, 2.0, 3.0, -1.0])
def test_the_variance_of_the_forces_is_explained_as_far_as_they_are_said(
    factor: float, data_dir: Path
) -> None:
    """1 − (1 − f)²: none by a constant and by twice the forces, less than none by their opposite."""
    bench = Scaled(Calculator(), EvaluationSettings(), data=data_dir)
    bench.factor = factor
    found = accuracy.measure(bench).values["force_variance_explained"]
    assert found == pytest.approx(1 - (1 - factor) ** 2)


def test_no_model_explains_forces_that_are_all_zero(tmp_path: Path) -> None:
    path = tmp_path / "test" / "test.xyz"
    path.parent.mkdir()
    write_labelled(path, 1, 1)
    atoms = ase.io.read(path)
    atoms.arrays["REF_forces"][:] = 0.0
    ase.io.write(path, atoms, format="extxyz")
    found = accuracy.measure(Scaled(Calculator(), EvaluationSettings(), data=tmp_path))
    assert found.failures == {"force_variance_explained": "every force of the labels is zero"}
    assert found.values["force_mae_mev_per_a"] == 0.0


def test_parity_curves_have_one_row_a_structure_or_atom(data_dir: Path) -> None:
    curves = accuracy.measure(shifted(data_dir)).curves
    assert curves["energy_model_ev_per_atom"].shape == (3,)
    assert curves["force_model_ev_per_a"].shape == curves["force_reference_ev_per_a"].shape == (12, 3)
    assert curves["stress_model_gpa"].shape == (3, 6)


def test_structures_without_labels_are_bad_input(tmp_path: Path) -> None:
    path = tmp_path / "test" / "test.xyz"
    path.parent.mkdir()
    write_labelled(path, 1, 1)
    atoms = ase.io.read(path)
    del atoms.arrays["REF_forces"]
    ase.io.write(path, atoms, format="extxyz")
    with pytest.raises(InputError, match="structure 0 has no REF_forces"):
        accuracy.measure(shifted(tmp_path))
    for spoilt in (np.full((4, 3), np.nan), np.zeros(4)):
        atoms.arrays["REF_forces"] = spoilt
        ase.io.write(path, atoms, format="extxyz")
        with pytest.raises(InputError, match="structure 0: REF_energy or REF_forces"):
            accuracy.measure(shifted(tmp_path))
    path.write_text("not\nextxyz\n")
    with pytest.raises(InputError, match="extxyz"):
        accuracy.measure(shifted(tmp_path))
