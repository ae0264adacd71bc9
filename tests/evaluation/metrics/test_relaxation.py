import numpy as np
import pytest

from mlipilot.evaluation.metrics import relaxation
from mlipilot.evaluation.metrics.relaxation import rmsd_a
from mlipilot.evaluation.relaxed_molecules import relaxed
from mlipilot.evaluation.results import MeasurementError

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
