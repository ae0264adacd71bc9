import numpy as np
import pytest
from ase.calculators.emt import EMT

from mlipilot.evaluation.bench import Bench
from mlipilot.evaluation.crystal import cubic_cell
from mlipilot.evaluation.frames import displaced
from mlipilot.evaluation.metric_settings import EvaluationSettings
from mlipilot.evaluation.metrics.phonons import Phonons, measure, phonons

from ..oracles import AgainstEmt, AlteredEmt

QUICK = {"phonons": {"repeats": 2, "mesh": 4}}
THZ = 15.633302  # of √(eV/Å²/amu) / 2π


@pytest.fixture(scope="module")
def exact() -> Phonons:
    return phonons(Bench(EMT(), EvaluationSettings.model_validate(QUICK)))


def mean_thz(exact: Phonons) -> float:
    return float(np.average(exact.frequencies_thz.mean(axis=1), weights=exact.weights))


def test_frequencies_go_with_the_root_of_the_forces(exact: Phonons) -> None:
    found = measure(AgainstEmt(AlteredEmt(1.21), **QUICK)).values
    assert found["phonon_frequency_mae_thz"] == pytest.approx(0.1 * mean_thz(exact), rel=1e-6)
    assert found["phonon_lowest_thz"] == pytest.approx(1.1 * exact.frequencies_thz.min(), rel=1e-6)


def test_where_forces_drive_atoms_away_frequencies_are_negative(exact: Phonons) -> None:
    found = measure(AgainstEmt(AlteredEmt(force_factor=-1.0), **QUICK)).values
    assert found["phonon_lowest_thz"] == pytest.approx(-exact.frequencies_thz.max())
    ranked = np.sort(-exact.frequencies_thz, axis=1) - exact.frequencies_thz
    expected = np.average(abs(ranked).mean(axis=1), weights=exact.weights)
    assert found["phonon_frequency_mae_thz"] == pytest.approx(expected)


def test_every_point_of_the_mesh_but_gamma_counts(exact: Phonons) -> None:
    assert exact.weights.sum() == 4**3 - 1
    assert exact.frequencies_thz.min() > 0.5


def test_the_border_of_the_zone_is_that_of_a_frozen_phonon() -> None:
    """All that moves as in one cubic cell of four atoms is at Γ or at X: so its Hessian has these modes."""
    settings = EvaluationSettings.model_validate({"phonons": {"repeats": 2, "mesh": 2}})
    bench = Bench(EMT(), settings)
    at_l, at_x = phonons(bench).frequencies_thz
    cell = cubic_cell(settings.crystal, bench.lattice.lattice_constant_a)
    forces = np.array([p.forces_ev_per_a.ravel() for p in bench.predict(displaced(cell, range(12), 0.01))])
    hessian = (forces[1::2] - forces[::2]) / 0.02
    squares = np.linalg.eigvalsh((hessian + hessian.T) / 2 / cell.get_masses()[0])
    modes = THZ * np.sqrt(squares[3:])  # three stand still
    np.testing.assert_allclose(modes, np.sort(np.repeat(at_x, 3)), rtol=1e-5)
    assert not np.allclose(at_l, at_x, rtol=0.05)
