"""Barriers of torsions that are known, and scans that are none."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from mlipilot.evaluation.metrics import torsion
from mlipilot.evaluation.metrics_file import MeasurementError
from mlipilot.evaluation.reference_molecules import Scan

from ..oracles import Told

DEGREES = np.linspace(0, 180, 13)
TRUE_EV = 0.1 * np.cos(np.radians(DEGREES)) + 0.03 * np.cos(2 * np.radians(DEGREES))


def peroxide(energies_ev: np.ndarray = TRUE_EV, stretch_a: float = 0.0) -> Scan:
    """H–O–O–H, turned around the O–O bond, which may grow meanwhile."""
    frames = []
    for number, degrees in enumerate(DEGREES):
        atoms = molecule("H2O2")
        atoms.set_dihedral(2, 0, 1, 3, degrees, indices=[3])
        atoms.set_distance(0, 1, 1.45 + stretch_a * number / 12, fix=0, indices=[1, 3])
        frames.append(atoms)
    return Scan("peroxide", frames, DEGREES, energies_ev)


def bent() -> Scan:
    """Water whose angle opens: bonds stay, and what lies two bonds apart does not."""
    frames = []
    for degrees in DEGREES / 3 + 90:
        atoms = molecule("H2O")
        atoms.set_angle(1, 0, 2, degrees, indices=[2])
        frames.append(atoms)
    return Scan("water", frames, DEGREES, TRUE_EV)


def test_a_torsion_is_known_by_its_geometry() -> None:
    assert torsion.is_torsion(peroxide())
    assert torsion.is_torsion(peroxide(stretch_a=0.1))  # relaxed
    assert not torsion.is_torsion(peroxide(stretch_a=0.5))  # a stretch that turns
    assert not torsion.is_torsion(bent())
    apart = [Atoms("He2", positions=[[0, 0, 0], [0, 0, 3 + 0.1 * number]]) for number in range(5)]
    assert not torsion.is_torsion(Scan("no bond between", apart, DEGREES[:5], TRUE_EV[:5]))
    still = Scan("still", [molecule("H2O2")] * 5, DEGREES[:5], TRUE_EV[:5])
    assert not torsion.is_torsion(still)


def test_the_truth_has_no_error_whatever_its_zero() -> None:
    found = torsion.measure(Told((TRUE_EV + 7).tolist(), [peroxide()]))
    assert found.values == pytest.approx({"torsion_barrier_error_mev": 0.0}, abs=1e-9)


@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_a_barrier_off_by_half_is_off_by_half_and_other_scans_do_not_count(factor: float) -> None:
    class Turned(Told):
        def predict(self, structures):  # type: ignore[no-untyped-def]  # as the base class has it
            assert len(structures[0]) == 4  # water's scan is not asked for
            return super().predict(structures)

    # turned around, too: its maximum lies at the other end
    found = torsion.measure(Turned((factor * TRUE_EV[::-1]).tolist(), [bent(), peroxide()]))
    assert found.values["torsion_barrier_error_mev"] == pytest.approx(500 * float(np.ptp(TRUE_EV)))


def test_the_mean_of_the_scans_counts() -> None:
    high = Told(TRUE_EV.tolist(), [peroxide(), peroxide(1.5 * TRUE_EV)])
    mean = torsion.measure(high).values["torsion_barrier_error_mev"]
    assert mean == pytest.approx(250 * float(np.ptp(TRUE_EV)))


def test_an_energy_that_is_no_number_is_a_reason() -> None:
    with pytest.raises(MeasurementError, match="peroxide: an energy is not a finite number"):
        torsion.measure(Told([*TRUE_EV[:-1], np.nan], [peroxide()]))


def test_scans_without_torsions_owe_no_barrier() -> None:
    (metric,) = torsion.GROUP.metrics
    assert metric.owed(Told([], [bent(), peroxide()]))
    assert not metric.owed(Told([], [bent()]))
