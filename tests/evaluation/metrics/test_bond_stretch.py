"""Bonds of Morse's and other known curves, stretched."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator
from ase.calculators.morse import MorsePotential

from mlipilot.evaluation.bonds import bonds
from mlipilot.evaluation.metrics import bond_stretch
from mlipilot.evaluation.metrics_file import MeasurementError
from mlipilot.evaluation.reference_molecules import Molecule

from ..oracles import PairSprings, Repulsive, bench, dimer

EXTRA, ROUGH = "bond_stretch_extra_minima", "bond_stretch_force_roughness_ev_per_a"
LENGTH_A = 0.96
MORSE = {"epsilon": 4.8, "r0": LENGTH_A, "rho0": 2.2 * LENGTH_A, "rcut1": 5.0, "rcut2": 6.0}


class Along(Calculator):  # type: ignore[misc]  # ASE has no types
    """Two atoms; the force that pushes them apart, by their distance."""

    implemented_properties = ("energy", "forces")

    def __init__(self, force_ev_per_a: Callable[[float], float]) -> None:
        super().__init__()
        self.force_ev_per_a = force_ev_per_a

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):  # type: ignore[no-untyped-def]
        super().calculate(atoms, properties, system_changes)
        apart = atoms.positions[1] - atoms.positions[0]
        push = self.force_ev_per_a(float(np.linalg.norm(apart))) * apart / np.linalg.norm(apart)
        self.results = {"energy": 0.0, "forces": np.array([-push, push])}


def stretched(calculator: Calculator, *molecules: Molecule) -> dict[str, float]:
    return bond_stretch.measure(bench(calculator, molecules or [dimer("OH", LENGTH_A)])).values


def test_a_bond_of_morse_has_one_minimum_and_is_smooth() -> None:
    found = stretched(MorsePotential(**MORSE))
    assert found[EXTRA] == 0
    assert 1e-4 < found[ROUGH] < 1e-3  # of the steps alone


def test_the_force_is_that_of_the_bond() -> None:
    constant = 30.0
    found = bond_stretch.measure(bench(PairSprings(constant, LENGTH_A), [dimer("OH", LENGTH_A)]))
    expected = -constant * (found.curves["bond_0_length_a"] - LENGTH_A)
    np.testing.assert_allclose(found.curves["bond_0_force_ev_per_a"], expected, atol=1e-9)
    assert found.curves["bond_0_length_a"][[0, -1]] == pytest.approx([0.8 * LENGTH_A, 1.3 * LENGTH_A])
    assert found.values[ROUGH] == pytest.approx(0, abs=1e-9)


def test_a_kink_of_the_force_is_a_third_of_it_over_a_step() -> None:
    """A slope of k on one side of a point of the path and 0 on the other turns by k."""
    step_a, k = 0.02 * LENGTH_A, 50.0
    kink_a = 1.1 * LENGTH_A
    found = stretched(Along(lambda r: 10 * (LENGTH_A - r) + k * max(0.0, r - kink_a) / 10))
    assert found[ROUGH] == pytest.approx(k / 10 * step_a / 3, rel=1e-6)


@pytest.mark.parametrize(
    ("force", "extra"),
    [
        (lambda r: LENGTH_A - r, 0),
        (lambda r: math.sin(2 * math.pi * (r / LENGTH_A - 1) / -0.21), 2),  # minima at 0.79, 1, 1.21
        (lambda r: (r - 0.85 * LENGTH_A) * (LENGTH_A - r), 1),  # falls into a hole when pressed
        (lambda r: r - LENGTH_A, 3),  # none where the bond is, and both ends
        (lambda r: (LENGTH_A - r) * (1.2 * LENGTH_A - r), 1),  # lets go when drawn
        (lambda r: 1.0, 2),  # flies apart: none inside, one at the end
        (lambda r: 0.0, 1),  # says nothing
    ],
    ids=["one", "three", "hole", "hill", "lets go", "repels", "nothing"],
)
def test_minima_beside_the_one_are_counted(force: Callable[[float], float], extra: int) -> None:
    assert stretched(Along(force))[EXTRA] == extra


def test_the_worst_bond_counts() -> None:
    good, bad = dimer("OH", 1.0), dimer("CO", 1.3)
    alone = stretched(PairSprings(20.0, 1.0), good)[EXTRA]
    both = stretched(PairSprings(20.0, 0.9), dimer("OH", 0.9), bad)[EXTRA]
    assert (alone, both) == (0, 2)  # at 1.04 to 1.69 a spring of 0.9 pulls only: an end, and none inside


def test_what_hangs_on_a_bond_moves_with_it_rigid() -> None:
    water = molecule("CH3OH")
    pairs = bonds(water)
    for bond, (first, second) in enumerate(pairs):
        moved = water.copy()
        moved.positions += 0.1 * bond_stretch.directions(water, pairs, bond)
        change = moved.get_all_distances() - water.get_all_distances()
        assert change[first, second] == pytest.approx(0.1)
        others = [change[tuple(pair)] for i, pair in enumerate(pairs) if i != bond]
        np.testing.assert_allclose(others, 0, atol=1e-12)


def test_in_a_ring_only_the_two_atoms_move() -> None:
    ring = molecule("C3H6_D3h")
    pairs = bonds(ring)
    for bond, pair in enumerate(pairs):
        moving = np.flatnonzero(bond_stretch.directions(ring, pairs, bond).any(axis=1))
        assert len(moving) == (2 if set(ring.numbers[pair]) == {6} else len(ring))


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_force_that_is_no_number_names_the_bond(broken: float) -> None:
    with pytest.raises(MeasurementError, match="OH, bond of atoms 0 and 1: a force is not a finite number"):
        stretched(PairSprings(20.0, 1.0, breaks_after=3, broken=broken))


def test_atoms_that_are_not_bonded_owe_nothing() -> None:
    helium = Molecule("He2", Atoms("He2", positions=[[0, 0, 0], [0, 0, 3]]), np.zeros(1))
    owed = {metric.owed(bench(Repulsive(1.0), [helium])) for metric in bond_stretch.GROUP.metrics}
    assert owed == {False}
    assert all(metric.owed(bench(Repulsive(1.0), [dimer()])) for metric in bond_stretch.GROUP.metrics)
