"""Frequencies of springs, which are known in closed form."""

import math

import numpy as np
import pytest
from ase import Atoms, units

from mlipilot.evaluation.metrics import frequencies
from mlipilot.evaluation.metrics.frequencies import frequencies_per_cm
from mlipilot.evaluation.reference_molecules import Molecule

from ..oracles import PairSprings, bench, dimer, triangle

CONSTANT = 30.0  # eV/Å²
LIGHT_CM_PER_S = 2.99792458e10


def wavenumber(constant_ev_per_a2: float, mass_u: float) -> float:
    """√(k/m) / 2πc in cm⁻¹."""
    omega = math.sqrt(constant_ev_per_a2 * 16.02176634 / (mass_u * 1.66053906660e-27))
    return omega / (2 * math.pi * LIGHT_CM_PER_S)


def test_a_diatomic_vibrates_with_its_reduced_mass() -> None:
    atoms = dimer("OH").atoms
    oxygen, hydrogen = atoms.get_masses()
    expected = wavenumber(CONSTANT, oxygen * hydrogen / (oxygen + hydrogen))
    found = frequencies_per_cm(bench(PairSprings(CONSTANT, 1.0)), atoms, 1, 0.001)
    assert found == pytest.approx([expected], rel=1e-5)
    assert 2000 < expected < 4000  # where O–H stretches are


def test_a_triangle_of_springs_has_one_breathing_and_two_degenerate_modes() -> None:
    atoms = triangle("C3").atoms
    atoms.rotate(37, (1, 2, 3))
    mass = float(atoms.get_masses()[0])
    found = frequencies_per_cm(bench(PairSprings(CONSTANT, 1.0)), atoms, 3, 0.001)
    degenerate, breathing = wavenumber(1.5 * CONSTANT, mass), wavenumber(3 * CONSTANT, mass)
    assert found == pytest.approx([degenerate, degenerate, breathing], rel=1e-4)


def test_an_imaginary_frequency_is_negative() -> None:
    atoms = dimer("H2").atoms
    expected = wavenumber(CONSTANT, float(atoms.get_masses()[0]) / 2)
    found = frequencies_per_cm(bench(PairSprings(-CONSTANT, 1.0)), atoms, 1, 0.001)
    assert found == pytest.approx([-expected], rel=1e-5)


def test_the_rigid_motions_of_a_linear_molecule_are_five() -> None:
    chain = Atoms("CO2", positions=[[0, 0, 0], [0, 0, 1.2], [0, 0, -1.2]])
    for atoms, count in ((chain, 5), (triangle().atoms, 6)):
        basis = frequencies.rigid_motions(atoms, count)
        np.testing.assert_allclose(basis.T @ basis, np.eye(count), atol=1e-12)
        weights = np.sqrt(np.repeat(atoms.get_masses(), 3))
        shift = weights * np.tile([0.3, -0.2, 0.9], len(atoms))  # any translation lies within
        np.testing.assert_allclose(basis @ (basis.T @ shift), shift, atol=1e-12)


def test_the_error_is_the_mean_over_all_vibrations() -> None:
    true = wavenumber(CONSTANT, float(dimer("H2").atoms.get_masses()[0]) / 2)
    molecules = [
        Molecule(f"H2 {shift}", dimer("H2").atoms, np.array([true + shift])) for shift in (30.0, -90.0)
    ]
    found = frequencies.measure(bench(PairSprings(CONSTANT, 1.0), molecules, frequencies={"step_a": 0.001}))
    assert found.values["frequency_mae_per_cm"] == pytest.approx(60, abs=0.1)
    assert found.curves["frequency_model_per_cm"].shape == (2,)
    assert units.invcm == pytest.approx(1.23984e-4, rel=1e-4)  # eV: ASE's factor is that of a wavenumber
