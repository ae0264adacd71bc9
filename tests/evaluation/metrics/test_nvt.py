import numpy as np
import pytest

from mlipilot.evaluation.crystal import cubic_cell
from mlipilot.evaluation.metric_settings import EvaluationSettings
from mlipilot.evaluation.metrics.nvt import bin_edges_a, radial_distribution
from mlipilot.evaluation.snapshots import NvtSettings

SETTINGS = EvaluationSettings()


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
