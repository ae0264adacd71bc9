from typing import Any

import numpy as np
import pytest
from ase import Atoms

from mlipilot.evaluation.metrics import relaxation
from mlipilot.evaluation.metrics.relaxation import rmsd_a
from mlipilot.evaluation.metrics_file import MeasurementError
from mlipilot.evaluation.reference_molecules import Molecule
from mlipilot.evaluation.relaxed_molecules import RelaxationSettings, relaxed, start

from ..oracles import PairSprings, Repulsive, bench, dimer, triangle


def test_a_bond_that_is_too_long_moves_both_ends_by_half() -> None:
    molecules = [dimer("H2"), dimer("OH")]
    springs = bench(PairSprings(30.0, 1.1), molecules, relaxation={"fmax_ev_per_a": 1e-4})
    assert relaxation.measure(springs).values["relaxation_rmsd_a"] == pytest.approx(0.05, abs=1e-4)


def test_where_and_how_it_is_turned_does_not_count() -> None:
    true = triangle("CHO", 1.3).atoms
    true.positions += [[0, 0, 0.1], [0, 0, 0], [0, 0, -0.3]]
    moved = true.copy()
    moved.rotate(100, (1, 2, 3))
    moved.positions += [5.0, -3.0, 8.0]
    kept = moved.positions.copy()
    assert rmsd_a(moved, true) == pytest.approx(0, abs=1e-7)
    np.testing.assert_array_equal(moved.positions, kept)


def test_a_mirror_image_is_another_geometry(rng: np.random.Generator) -> None:
    true = triangle("H3").atoms + triangle("C3").atoms
    true.positions = rng.normal(size=(6, 3))
    mirrored = true.copy()
    mirrored.positions[:, 0] *= -1
    assert rmsd_a(mirrored, true) > 0.1


@pytest.mark.filterwarnings("ignore:invalid value")
def test_what_does_not_come_to_rest_is_a_failure_that_is_remembered() -> None:
    for calculator in (Repulsive(1.0), PairSprings(30.0, 9.0), PairSprings(30.0, 1.1, breaks_after=0)):
        springs = bench(calculator, relaxation={"max_steps": 3})
        for _ in range(2):
            with pytest.raises(MeasurementError, match="H2 did not relax to"):
                relaxed(springs, dimer("H2"))


def test_a_molecule_is_relaxed_once() -> None:
    springs = PairSprings(30.0, 1.1)
    on_bench = bench(springs)
    first = relaxed(on_bench, dimer())
    calls = springs.calls
    assert relaxed(on_bench, dimer()) is first
    assert springs.calls == calls


def _bent(rng: np.random.Generator) -> Molecule:
    return Molecule("C3H2O", Atoms("C3H2O", positions=rng.normal(size=(6, 3))), np.zeros(12))


@pytest.mark.parametrize("displacement_a", [0.001, 0.2, 0.3])
def test_the_start_is_as_far_from_the_true_geometry_as_the_settings_say(
    displacement_a: float, rng: np.random.Generator
) -> None:
    line = Molecule(
        "CO2", Atoms("CO2", positions=[[0, 0, 0], [1.1, 0.3, 0.2], [-1.1, -0.3, -0.2]]), np.zeros(4)
    )
    for molecule in (dimer(), triangle(), line, _bent(rng)):
        settings = RelaxationSettings(displacement_a=displacement_a)
        kept = molecule.atoms.positions.copy()
        moved = start(molecule, settings)
        assert rmsd_a(moved, molecule.atoms) == pytest.approx(displacement_a, rel=1e-6)
        # it is not merely moved or turned: that is what the best superposition would take back
        assert np.sqrt(((moved.positions - kept) ** 2).sum(axis=1).mean()) == pytest.approx(displacement_a)
        np.testing.assert_array_equal(molecule.atoms.positions, kept)
        np.testing.assert_array_equal(start(molecule, settings).positions, moved.positions)
        other = start(molecule, settings.model_copy(update={"seed": 3}))
        assert len(molecule.atoms) == 2 or abs(other.positions - moved.positions).max() > displacement_a / 10


@pytest.mark.parametrize("wrong", [0.0, -0.1, 0.31])
def test_a_start_at_the_true_geometry_cannot_be_asked_for(wrong: float) -> None:
    with pytest.raises(ValueError, match="displacement_a"):
        RelaxationSettings(displacement_a=wrong)


def test_a_model_without_forces_is_as_far_off_as_it_began() -> None:
    silent = bench(PairSprings(0.0, 1.0), [dimer(), triangle()], relaxation={"displacement_a": 0.3})
    assert relaxation.measure(silent).values["relaxation_rmsd_a"] == pytest.approx(0.3)


class Silenced(PairSprings):
    """Springs whose forces are zero where a molecule is near enough to its true geometry."""

    def __init__(self, molecule: Molecule, within_a: float) -> None:
        super().__init__(30.0, 1.1)
        self.true, self.within_a = molecule.atoms, within_a

    def calculate(self, atoms: Any = None, *asked: Any, **by_name: Any) -> None:
        super().calculate(atoms, *asked, **by_name)
        if rmsd_a(atoms, self.true) < self.within_a:
            self.results["forces"] = np.zeros((len(atoms), 3))


@pytest.mark.parametrize(("within_a", "expected"), [(1e-3, 0.05), (0.18, 0.17)])
def test_forces_silenced_at_the_true_geometry_bring_nothing_nearer(within_a: float, expected: float) -> None:
    """From the true geometry that would be a perfect relaxation."""
    molecule = dimer()
    settings = {"fmax_ev_per_a": 1e-4, "displacement_a": 0.17}
    found = relaxation.measure(bench(Silenced(molecule, within_a), [molecule], relaxation=settings))
    assert found.values["relaxation_rmsd_a"] == pytest.approx(expected, abs=1e-4)
