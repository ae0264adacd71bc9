"""EMT on the bench against EMT as the reference: every physics metric is exact, every value is textbook."""

from typing import Any

import numpy as np
import pytest

from mlipilot.evaluation import reference
from mlipilot.evaluation.bench import Bench, Split
from mlipilot.evaluation.crystal import reference_calculator
from mlipilot.evaluation.metric_settings import EvaluationSettings
from mlipilot.evaluation.metrics_file import Entry
from mlipilot.evaluation.reference import ReferenceValues
from mlipilot.evaluation.tasks import make, tasks_of


@pytest.fixture(scope="module")
def emt_settings(settings: EvaluationSettings) -> EvaluationSettings:
    """Short dynamics, but the strains of the scorecard, so that literature values hold."""
    ours = EvaluationSettings()
    return settings.model_copy(update={"lattice": ours.lattice, "elasticity": ours.elasticity})


@pytest.fixture(scope="module")
def values(emt_settings: EvaluationSettings) -> ReferenceValues:
    return reference.compute(emt_settings)


@pytest.fixture(scope="module")
def measured(
    emt_settings: EvaluationSettings, values: ReferenceValues
) -> tuple[dict[str, Entry], dict[str, Any]]:
    of_a_model_or_files = {"size", "throughput", "errors"}
    splits: tuple[Split, ...] = ("test", "sealed")
    benches = [
        Bench(reference_calculator(emt_settings.crystal), emt_settings, reference=values, split=split)
        for split in splits
    ]
    tasks = [task for bench in benches for task in tasks_of(bench) if task.label not in of_a_model_or_files]
    assert len(tasks) == len({task.label for task in tasks})
    return make(tasks, lambda _: None)


def test_emt_against_itself_has_no_error(measured: tuple[dict[str, Entry], dict[str, Any]]) -> None:
    entries = measured[0]
    assert all(entry.status == "ok" for entry in entries.values())
    errors = {
        name: entry.value or 0.0
        for name, entry in entries.items()
        if "error" in name or "_mae" in name or name == "nvt_rdf_wasserstein_a"
    }
    assert len(errors) >= 23
    assert errors.pop("finite_difference_force_error_mev_per_a") < 0.01
    assert errors == pytest.approx(dict.fromkeys(errors, 0.0), abs=1e-8)


def test_emt_dynamics_complete_and_drift_within_the_fit_noise_of_a_short_run(
    measured: tuple[dict[str, Entry], dict[str, Any]],
) -> None:
    entries = measured[0]
    assert entries["nve_completed_fraction"].value == entries["nvt_completed_fraction"].value == 1.0
    assert (entries["nve_drift_mev_per_atom_per_ps"].value or 0.0) < 10


def test_the_exact_crystal_is_stable_and_its_energy_has_one_well(
    measured: tuple[dict[str, Entry], dict[str, Any]],
) -> None:
    values = {name: entry.value for name, entry in measured[0].items()}
    assert values["phonon_lowest_thz"] == pytest.approx(1.77, abs=0.01)  # near Γ, of a transverse branch
    assert values["energy_volume_tortuosity"] == pytest.approx(1.0, abs=1e-12)
    for name in ("energy_volume_extra_minima", "dimer_extra_minima", "dimer_wall_wrong_fraction"):
        assert values[name] == 0


def test_reference_values_of_copper_are_those_of_the_literature_of_emt(values: ReferenceValues) -> None:
    assert values.lattice_constant_a == pytest.approx(3.5898, abs=2e-4)
    assert values.bulk_modulus_gpa == pytest.approx(134.4, abs=0.5)
    assert values.c11_gpa == pytest.approx(172.6, abs=0.5)
    assert values.c12_gpa == pytest.approx(115.5, abs=0.5)
    assert values.c44_gpa == pytest.approx(90.1, abs=0.5)
    assert values.vacancy_formation_energy_ev == pytest.approx(1.23, abs=0.02)
    assert values.compressed_pair_energy_ev_per_atom == pytest.approx(2.28, abs=0.02)


def test_the_elastic_constants_and_the_equation_of_state_agree_on_the_bulk_modulus(
    values: ReferenceValues,
) -> None:
    # two independent routes through stress and through energy: B = (C11 + 2 C12) / 3
    assert (values.c11_gpa + 2 * values.c12_gpa) / 3 == pytest.approx(values.bulk_modulus_gpa, rel=0.01)


def test_snapshots_keep_velocities_and_positions(
    values: ReferenceValues, emt_settings: EvaluationSettings
) -> None:
    atoms = values.nvt_start.atoms(emt_settings.crystal)
    again = type(values.nvt_start).of(atoms, 600.0, 2, values.nvt_start.lattice_constant_a)
    np.testing.assert_allclose(again.velocities_a_per_ps, values.nvt_start.velocities_a_per_ps, rtol=1e-12)
    assert 200 < atoms.get_temperature() < 1400
    np.testing.assert_allclose(atoms.get_momenta().sum(axis=0), 0, atol=1e-9)


def test_curves_are_there_for_plots(measured: tuple[dict[str, Entry], dict[str, Any]]) -> None:
    curves = measured[1]
    np.testing.assert_array_equal(curves["rdf_model"], curves["rdf_reference"])
    np.testing.assert_array_equal(
        curves["eos_model_energy_ev_per_atom"], curves["eos_reference_energy_ev_per_atom"]
    )
    for name in ("phonon_{}_thz", "energy_volume_{}_ev_per_atom", "pair_{}_ev"):
        np.testing.assert_allclose(curves[name.format("model")], curves[name.format("reference")], atol=1e-9)
    assert curves["nve_600k_time_ps"][1] == pytest.approx(0.004)
    assert curves["nve_600k_energy_mev_per_atom"][0] == 0
