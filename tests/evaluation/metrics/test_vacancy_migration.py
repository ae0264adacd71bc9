import numpy as np
import pytest
from ase.calculators.emt import EMT

from mlipilot.evaluation.bench import Bench
from mlipilot.evaluation.metric_settings import EvaluationSettings
from mlipilot.evaluation.metrics.vacancy import vacancy_energy_ev
from mlipilot.evaluation.metrics.vacancy_migration import barrier_ev, measure, midway
from mlipilot.evaluation.metrics_file import MeasurementError

from ..oracles import AgainstEmt, AlteredEmt


def test_energies_too_large_by_a_tenth_have_a_barrier_too_high_by_a_tenth() -> None:
    bench = AgainstEmt(AlteredEmt(1.1), vacancy={"fmax_ev_per_a": 0.002})
    truth = bench.truth("vacancy_migration_barrier_ev")
    found = measure(bench).values
    assert truth == pytest.approx(0.79, abs=0.01)
    assert found["vacancy_migration_barrier_ev"] == pytest.approx(1.1 * truth, rel=1e-3)
    assert found["vacancy_migration_barrier_error_ev"] == pytest.approx(0.1 * truth, rel=1e-2)


def test_midway_no_force_acts_on_the_atom_and_it_falls_to_both_sides_only() -> None:
    bench = Bench(EMT(), EvaluationSettings.model_validate({"vacancy": {"fmax_ev_per_a": 0.002}}))
    top_ev = vacancy_energy_ev(bench) + barrier_ev(bench)
    atoms = midway(bench)
    (held,) = atoms.constraints[0].index
    atoms.calc = EMT()
    assert abs(atoms.get_forces(apply_constraint=False)[held]).max() < 1e-9
    assert len(atoms) == 31 and top_ev < atoms.get_potential_energy()
    along = atoms.positions[held] / np.linalg.norm(atoms.positions[held])  # the missing atom was at 0
    atoms.constraints = []
    start, unmoved_ev = atoms.positions.copy(), atoms.get_potential_energy()
    aside = np.array([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0], [1.0, 0.0, -1.0]])
    (across, *_) = (way / np.sqrt(2) for way in aside if abs(way @ along) < 1e-9)
    for way, falls in ((along, True), (-along, True), (across, False), (-across, False)):
        atoms.positions = start.copy()
        atoms.positions[held] += 0.1 * way
        assert bool(atoms.get_potential_energy() < unmoved_ev) is falls


def test_a_saddle_that_does_not_relax_is_named() -> None:
    settings = EvaluationSettings.model_validate({"vacancy": {"max_steps": 1}})
    with pytest.raises(MeasurementError, match=r"the vacancy did not relax to 0\.02 eV/Å in 1 steps"):
        barrier_ev(Bench(EMT(), settings))
    bench = Bench(EMT(), settings)
    bench.once("vacancy", lambda: 0.0)
    with pytest.raises(MeasurementError, match="the saddle of the vacancy's hop did not relax"):
        barrier_ev(bench)
