from typing import Any

import numpy as np
import pytest
from ase import units

from mlipilot.evaluation.crystal import cubic_cell
from mlipilot.evaluation.metric_settings import EvaluationSettings
from mlipilot.evaluation.metrics.nvt import bin_edges_a, measure, radial_distribution, wasserstein_a
from mlipilot.evaluation.snapshots import NvtSettings

from ..conftest import QUICK
from ..oracles import AgainstEmt, AlteredEmt

SETTINGS = EvaluationSettings()
BRIEF: dict[str, Any] = {"nvt": QUICK["nvt"]}
ERRORS = {"nvt_rdf_mae", "nvt_rdf_wasserstein_a", "nvt_pressure_error_gpa"}


@pytest.mark.parametrize("repeats", [1, 2, 3])
def test_perfect_fcc_has_12_6_and_24_neighbours_where_they_belong(repeats: int) -> None:
    atoms = cubic_cell(SETTINGS.crystal, 3.59, repeats)
    edges = bin_edges_a(NvtSettings())
    g = radial_distribution(atoms, edges)
    neighbours = g * 4 / 3 * np.pi * np.diff(edges**3) * len(atoms) / atoms.get_volume()
    occupied = {round(float(edges[i]), 6): round(float(neighbours[i]), 6) for i in np.flatnonzero(g)}
    assert list(occupied.values()) == [12, 6, 24]
    for border, distance in zip(occupied, 3.59 * np.sqrt([0.5, 1.0, 1.5]), strict=True):
        assert border <= distance < border + 0.1


def test_an_ideal_gas_has_no_structure(rng: np.random.Generator) -> None:
    atoms = cubic_cell(SETTINGS.crystal, 3.6, 7)
    atoms.positions = rng.uniform(0, 7 * 3.6, atoms.positions.shape)
    g = radial_distribution(atoms, bin_edges_a(NvtSettings()))
    assert g[20:].mean() == pytest.approx(1.0, abs=0.03)


def test_a_pressure_that_is_too_high_is_the_error_and_moves_no_atom() -> None:
    found = measure(AgainstEmt(AlteredEmt(pressure_ev_per_a3=2.5 * units.GPa), **BRIEF)).values
    assert found["nvt_pressure_error_gpa"] == pytest.approx(2.5)
    assert found["nvt_rdf_mae"] == found["nvt_rdf_wasserstein_a"] == 0.0


def test_dynamics_of_other_forces_have_another_structure() -> None:
    found = measure(AgainstEmt(AlteredEmt(1.5), **BRIEF)).values
    assert found["nvt_rdf_mae"] > 0.01 and found["nvt_rdf_wasserstein_a"] > 1e-4


def test_dynamics_that_break_give_no_error() -> None:
    limits = {"limits": {"max_force_ev_per_a": 3.0}}
    bench = AgainstEmt(AlteredEmt(50.0), nvt=BRIEF["nvt"] | limits)
    found = measure(bench)
    assert found.failures.keys() == ERRORS and found.values.keys() == {"nvt_completed_fraction"}
    assert all("is above 3" in reason for reason in found.failures.values())


def test_a_peak_that_is_moved_is_as_far_off_as_it_is_moved() -> None:
    edges = np.linspace(0, 5, 51)
    peak, moved = np.zeros(50), np.zeros(50)
    peak[20], moved[27] = 1.0, 3.0  # the area does not count
    assert wasserstein_a(peak, moved, edges) == pytest.approx(0.7)
    assert wasserstein_a(peak, 2 * peak, edges) == 0.0
