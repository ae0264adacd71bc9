import numpy as np
import pytest
from ase.calculators.emt import EMT

from mlipilot.evaluation.bench import Bench
from mlipilot.evaluation.metric_settings import EvaluationSettings
from mlipilot.evaluation.metrics.surfaces import energies_mev_per_a2, measure, slabs

from ..oracles import AgainstEmt, AlteredEmt


def bench(**surfaces: float) -> Bench:
    return Bench(EMT(), EvaluationSettings.model_validate({"surfaces": surfaces}))


def test_energies_too_large_by_a_tenth() -> None:
    altered = AgainstEmt(AlteredEmt(1.1))
    truth = np.array(altered.truth("surface_energies_mev_per_a2"))
    assert measure(altered).values["surface_energy_mae_mev_per_a2"] == pytest.approx(0.1 * truth.mean())


def test_thickness_and_vacuum_do_not_count_and_the_densest_plane_is_the_cheapest() -> None:
    of_100, of_110, of_111 = energies_mev_per_a2(bench())
    np.testing.assert_allclose(
        energies_mev_per_a2(bench(layers=14, vacuum_a=12)), [of_100, of_110, of_111], rtol=1e-3
    )
    assert of_111 < of_100 < of_110


def test_a_face_has_one_atom_a_layer_on_the_area_of_its_plane() -> None:
    on_bench = bench()
    constant_a = on_bench.lattice.lattice_constant_a
    wanted = constant_a**2 * np.array([1 / 2, 1 / np.sqrt(2), np.sqrt(3) / 4])
    for slab, area_a2 in zip(slabs(on_bench), wanted, strict=True):
        assert len(slab) == 10 and slab.pbc.all()
        assert np.linalg.norm(np.cross(*slab.cell.array[:2])) == pytest.approx(area_a2)
        assert slab.cell.array[2, 2] - np.ptp(slab.positions[:, 2]) == pytest.approx(16.0)
