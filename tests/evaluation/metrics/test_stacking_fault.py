import numpy as np
import pytest
from ase import units
from ase.calculators.emt import EMT

from mlipilot.evaluation.bench import Bench
from mlipilot.evaluation.metric_settings import EvaluationSettings
from mlipilot.evaluation.metrics.phase_energies import above_fcc_mev_per_atom
from mlipilot.evaluation.metrics.stacking_fault import energies_mj_per_m2, measure, slid

from ..oracles import AgainstEmt, AlteredEmt


@pytest.fixture
def bench() -> Bench:
    return Bench(EMT(), EvaluationSettings())


def test_energies_too_large_by_a_tenth() -> None:
    altered = AgainstEmt(AlteredEmt(1.1))
    truth = np.array(altered.truth("stacking_fault_energies_mj_per_m2"))
    found = measure(altered).values
    assert truth.max() == pytest.approx(180, abs=2)
    assert found["unstable_stacking_fault_error_mj_per_m2"] == pytest.approx(0.1 * truth.max(), rel=1e-4)
    assert found["intrinsic_stacking_fault_error_mj_per_m2"] == pytest.approx(0.1 * abs(truth[-1]), rel=1e-4)


def test_before_the_slide_it_is_the_perfect_crystal(bench: Bench) -> None:
    atoms = slid(bench, 0.0)
    atoms.calc = EMT()
    per_atom_ev = atoms.get_potential_energy() / len(atoms)
    assert per_atom_ev == pytest.approx(bench.lattice.energy_ev_per_atom, abs=1e-5)
    assert atoms.get_volume() / len(atoms) == pytest.approx(bench.lattice.lattice_constant_a**3 / 4)


def test_a_fault_is_two_planes_of_hcp(bench: Bench) -> None:
    """Exact where interactions end before the fourth plane, as EMT's nearly do."""
    area_a2 = np.sqrt(3) / 4 * bench.lattice.lattice_constant_a**2
    expected = 2 * above_fcc_mev_per_atom(bench)["hcp"] / 1000 / area_a2 / units.J * 1e23
    assert energies_mj_per_m2(bench)[-1] == pytest.approx(expected, rel=1e-3)


def test_the_way_leads_over_the_bridge_between_hollows_and_not_over_an_atom(bench: Bench) -> None:
    middle = slid(bench, 0.5)
    constant_a = bench.lattice.lattice_constant_a
    nearest_a = np.sqrt(constant_a**2 / 3 + constant_a**2 / 8)  # of a plane's atom to the two below
    distances = middle.get_distances(0, len(middle) - 1, mic=True)
    assert float(distances[0]) == pytest.approx(nearest_a)
    assert int(energies_mj_per_m2(bench).argmax()) in range(7, 11)
