"""Molecules in dynamics whose lengths and planes are known."""

import math

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator

from mlipilot.evaluation.metrics import md_geometry, stability
from mlipilot.evaluation.metrics_file import MeasurementError
from mlipilot.evaluation.reference_molecules import Molecule
from mlipilot.evaluation.watched_molecules import watched

from ..oracles import PairSprings, bench, dimer, triangle

WIDE = {"max_force_ev_per_a": 1e9, "max_temperature_factor": 1e30}
COLD = {"duration_ps": 0.02, "temperature_k": 1e-6, "friction_per_ps": 1e-6, "limits": WIDE}
BOND, PLANE = "md_bond_length_shift_a", "md_planarity_a"


class Still(Calculator):  # type: ignore[misc]  # ASE has no types
    """No forces at all."""

    implemented_properties = ("energy", "forces")

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):  # type: ignore[no-untyped-def]
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3))}


class Lifting(Calculator):  # type: ignore[misc]  # ASE has no types
    """Holds three atoms in the plane z = 0 and the first at a height above it, by springs along z."""

    implemented_properties = ("energy", "forces")

    def __init__(self, height_a: float) -> None:
        super().__init__()
        self.places = np.array([height_a, 0, 0, 0])

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):  # type: ignore[no-untyped-def]
        super().calculate(atoms, properties, system_changes)
        off = atoms.positions[:, 2] - self.places
        forces = np.zeros((4, 3))
        forces[:, 2] = -20.0 * off
        self.results = {"energy": float(10 * (off**2).sum()), "forces": forces}


def boron(height_a: float = 0.0) -> Molecule:
    """BF3 with its boron above the plane of the fluorines."""
    atoms = molecule("BF3")
    atoms.positions -= atoms.positions[0]
    atoms.positions[0, 2] += height_a
    return Molecule("BF3", atoms, np.zeros(6))


def test_at_rest_at_the_true_equilibrium_nothing_is_off() -> None:
    found = md_geometry.measure(bench(Still(), [boron(), dimer("OH")], stability=COLD)).values
    assert found == pytest.approx({BOND: 0.0, PLANE: 0.0}, abs=1e-4)


def test_a_bond_that_swings_around_another_length_is_off_by_their_difference() -> None:
    """From rest at r₀ a spring of length r₀ + d swings from r₀ to r₀ + 2d, r₀ + d in the mean."""
    constant, off_a = 30.0, 0.04
    mass = float(Atoms("H").get_masses()[0]) / 2
    period_fs = 2 * math.pi * math.sqrt(mass / constant) * 10.1805
    settings = {**COLD, "timestep_fs": period_fs / 100, "duration_ps": 3 * period_fs / 1000}
    springs = PairSprings(constant, 0.74 + off_a)
    found = md_geometry.measure(bench(springs, [dimer("H2", 0.74)], stability=settings)).values
    assert found == {BOND: pytest.approx(off_a, rel=1e-3)}


def test_all_bonds_count_alike() -> None:
    springs = PairSprings(30.0, 1.0)
    both = bench(springs, [dimer("C2", 1.0), triangle("C3", 1.0)], stability=COLD)
    assert md_geometry.measure(both).values[BOND] == pytest.approx(0, abs=1e-4)
    still = bench(Still(), [dimer("C2", 1.0), triangle("C3", 1.0)], stability=COLD)
    _, watches = watched(still)
    for watch in watches:  # one bond of four was half as long
        watch.equilibrium_a = watch.equilibrium_a * (0.5 if len(watch.pairs) == 1 else 1.0)
    assert md_geometry.measure(still).values[BOND] == pytest.approx(0.5 / 4, abs=1e-4)


def test_a_centre_that_is_lifted_is_out_of_plane_by_its_height() -> None:
    """The boron swings around 0.1 Å between 0 and 0.2: its mean height is 0.1 Å over whole periods."""
    mass = float(Atoms("B").get_masses()[0])
    period_fs = 2 * math.pi * math.sqrt(mass / 20.0) * 10.1805
    settings = {**COLD, "timestep_fs": period_fs / 200, "duration_ps": 2 * period_fs / 1000}
    found = md_geometry.measure(bench(Lifting(0.1), [boron()], stability=settings)).values
    assert found[PLANE] == pytest.approx(0.1, rel=1e-3)


def test_planar_centres_are_those_of_three_neighbours_in_one_plane() -> None:
    assert md_geometry.planar_centres(molecule("C6H6"))[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert md_geometry.planar_centres(molecule("H2CO"))[:, 0].tolist() == [1]
    for name in ("NH3", "CH4", "H2O", "HCN"):
        assert md_geometry.planar_centres(molecule(name)).shape == (0, 4)
    assert len(md_geometry.planar_centres(boron(0.04).atoms)) == 1
    assert len(md_geometry.planar_centres(boron(0.06).atoms)) == 0
    tetrahedral = molecule("CH3Cl")
    carbon = int((tetrahedral.numbers == 6).argmax())
    hydrogens = (tetrahedral.numbers == 1).nonzero()[0]
    heights = md_geometry.heights_a(tetrahedral.positions, np.array([[carbon, *hydrogens]]))
    assert heights == pytest.approx([0.36], abs=0.03)


def test_dynamics_that_break_or_are_too_short_are_a_reason() -> None:
    short = {"duration_ps": 0.05}
    with pytest.raises(MeasurementError, match="broke at step"):
        md_geometry.measure(bench(PairSprings(20.0, 1.0, breaks_after=10), [dimer("H2")], stability=short))
    with pytest.raises(MeasurementError, match="fewer than 10 steps"):
        brief = {**COLD, "duration_ps": 0.003}
        md_geometry.measure(bench(PairSprings(20.0, 1.0), [dimer("H2")], stability=brief))


def test_the_dynamics_are_run_once_for_both_measurements() -> None:
    springs = PairSprings(20.0, 1.0)
    measured = bench(springs, [dimer("H2")], stability={"duration_ps": 0.02})
    stability.measure(measured)
    calls = springs.calls
    md_geometry.measure(measured)
    assert springs.calls == calls > 10


def test_what_is_owed_are_bonds_and_planes_that_there_are() -> None:
    shift, planarity = md_geometry.GROUP.metrics
    assert shift.owed(bench(Still(), [dimer()])) and not planarity.owed(bench(Still(), [dimer()]))
    assert planarity.owed(bench(Still(), [dimer(), boron()]))
