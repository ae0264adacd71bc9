from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes

from mlipilot.evaluation.bench_settings import CrystalSettings
from mlipilot.evaluation.crystal import cubic_cell, equilibrium, rattled_cell
from mlipilot.evaluation.metric_settings import EvaluationSettings
from mlipilot.evaluation.metrics_file import MeasurementError


class BirchMurnaghan(Calculator):  # type: ignore[misc]  # ASE has no types
    """Energy of the volume alone, by the third-order equation with B′ = 4, where its cubic term is zero."""

    implemented_properties = ("energy",)

    def __init__(self, lattice_constant_a: float, modulus_gpa: float) -> None:
        super().__init__()
        self.volume_a3 = lattice_constant_a**3 / 4
        self.modulus = modulus_gpa * units.GPa

    def calculate(
        self,
        atoms: Any = None,
        properties: Any = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        x = (self.volume_a3 / (atoms.get_volume() / len(atoms))) ** (2 / 3) - 1
        self.results = {"energy": len(atoms) * 9 / 8 * self.volume_a3 * self.modulus * x**2}


@pytest.mark.parametrize("constant_a", [3.45, 3.6, 3.75])
def test_the_equilibrium_of_a_known_equation_of_state_is_found(constant_a: float) -> None:
    found = equilibrium(BirchMurnaghan(constant_a, 140.0), EvaluationSettings())
    assert found.lattice_constant_a == pytest.approx(constant_a, rel=1e-6)
    assert found.bulk_modulus_gpa == pytest.approx(140.0, rel=1e-4)
    assert found.energy_ev_per_atom == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("modulus_gpa", [0.0, -100.0])
def test_a_crystal_that_is_not_stable_is_a_failure_with_a_reason(modulus_gpa: float) -> None:
    with pytest.raises(MeasurementError):
        equilibrium(BirchMurnaghan(3.6, modulus_gpa), EvaluationSettings())


def test_a_minimum_far_away_is_a_failure_that_says_how_far_it_looked() -> None:
    with pytest.raises(MeasurementError, match="the search went to"):
        equilibrium(BirchMurnaghan(6.0, 100.0), EvaluationSettings())


def test_cells_have_cubic_axes_and_the_right_density() -> None:
    atoms = cubic_cell(CrystalSettings(), 3.6, 2)
    assert len(atoms) == 32
    np.testing.assert_allclose(atoms.cell.array, 7.2 * np.eye(3))


def test_rattling_is_repeatable_and_of_the_stated_size() -> None:
    def displacements(seed: int) -> Any:
        return (
            rattled_cell(CrystalSettings(), 3.6, 5, 0.1, seed).positions
            - cubic_cell(CrystalSettings(), 3.6, 5).positions
        )

    np.testing.assert_array_equal(displacements(1), displacements(1))
    assert (displacements(1) != displacements(2)).all()
    assert np.std(displacements(1)) == pytest.approx(0.1, rel=0.05)


def test_atoms_are_of_the_asked_element() -> None:
    assert set(cubic_cell(CrystalSettings(symbol="Al"), 4.0).get_chemical_symbols()) == {"Al"}
    assert isinstance(cubic_cell(CrystalSettings(), 3.6), Atoms)
