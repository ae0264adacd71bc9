"""Dynamics of molecules that hold, burst, fly apart or stop being numbers."""

import math
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import Calculator

from mlipilot.evaluation.bench import Bench
from mlipilot.evaluation.metric_settings import EvaluationSettings
from mlipilot.evaluation.metrics import nve, stability
from mlipilot.evaluation.reference_molecules import Molecule

from ..oracles import PairSprings, Repulsive, bench, dimer, triangle

STEPS = 100
SHORT = {"duration_ps": 0.05, "timestep_fs": 0.5}  # STEPS
COLD = {**SHORT, "temperature_k": 1e-6, "friction_per_ps": 1e-6}
WIDE = {"max_force_ev_per_a": 1e9, "max_temperature_factor": 1e30}


def run(calculator: Calculator, molecules: list[Molecule], **settings: Any) -> dict[str, float]:
    return stability.measure(bench(calculator, molecules, stability=settings)).values


def test_what_holds_together_is_stable() -> None:
    found = run(PairSprings(20.0, 1.0), [dimer("H2"), triangle("CO2", 1.0)], **SHORT)
    assert found == {"md_stable_fraction": 1.0, "md_hydrogen_kept_fraction": 1.0}


def test_a_molecule_that_flies_apart_breaks_when_its_bond_is_half_an_angstrom_off() -> None:
    force = 2.0  # each H is accelerated by F/m, the bond grows by F/m t²
    mass = float(Atoms("H").get_masses()[0])
    found = run(Repulsive(force), [dimer("H2", 0.74)], **COLD, limits=WIDE)
    for growth_a, name in ((0.5, "md_stable_fraction"), (2.5 - 0.74, "md_hydrogen_kept_fraction")):
        steps = math.sqrt(growth_a * mass / force) / units.fs / 0.5
        assert steps < STEPS
        assert found[name] * STEPS == pytest.approx(math.ceil(steps), abs=1)


def test_velocities_and_random_forces_are_drawn_from_streams_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[float] = []
    fresh = np.random.default_rng

    def watched(seed: Any) -> np.random.Generator:
        drawn.append(fresh(seed).normal())
        return fresh(seed)

    monkeypatch.setattr(np.random, "default_rng", watched)
    run(PairSprings(20.0, 1.0), [dimer("H2"), triangle("CO2", 1.0)], **SHORT)
    assert len(drawn) == len(set(drawn)) == 3  # two molecules and the noise
    again = drawn.copy()
    run(PairSprings(20.0, 1.0), [dimer("H2"), triangle("CO2", 1.0)], **SHORT)
    assert drawn == 2 * again


def test_the_worst_molecule_decides() -> None:
    both = run(Repulsive(2.0), [dimer("I2", 2.6), dimer("H2", 0.74)], **COLD, limits=WIDE)
    assert both == run(Repulsive(2.0), [dimer("H2", 0.74)], **COLD, limits=WIDE)


@pytest.mark.parametrize("broken", [math.nan, math.inf, 1e4])
def test_a_model_that_explodes_within_five_femtoseconds_is_stable_for_so_long(broken: float) -> None:
    found = run(PairSprings(20.0, 1.0, breaks_after=10, broken=broken), [dimer("H2")], **SHORT)
    assert found["md_stable_fraction"] * STEPS == pytest.approx(10, abs=1)
    assert found["md_hydrogen_kept_fraction"] == found["md_stable_fraction"]


def test_curves_begin_at_rest_and_name_the_bound() -> None:
    curves = stability.measure(bench(PairSprings(20.0, 1.0), [dimer("H2")], stability=SHORT)).curves
    assert curves["stability_bound_a"] == [0.5]
    assert curves["stability_0_bond_change_a"][0] == pytest.approx(0, abs=1e-12)
    assert curves["stability_0_time_ps"][-1] == pytest.approx(0.05)


def test_constant_energy_dynamics_of_molecules_do_not_drift_and_say_who_breaks() -> None:
    two = [dimer("N2"), triangle("O3")]
    found = nve.measure(bench(PairSprings(20.0, 1.0), two, frame_nve={"duration_ps": 0.03}))
    assert found.values["nve_completed_fraction"] == 1.0
    assert found.values["nve_drift_mev_per_atom_per_ps"] < 20  # the fit's noise over so short a time
    assert np.ptp(found.curves["nve_1_300k_energy_mev_per_atom"]) < 5

    bursting = bench(PairSprings(20.0, 1.0, breaks_after=20), two, frame_nve={"duration_ps": 0.03})
    found = nve.measure(bursting)
    assert found.values["nve_completed_fraction"] < 0.5
    assert found.failures["nve_drift_mev_per_atom_per_ps"].startswith(("N2: ", "O3: "))
    assert "not a finite number" in found.failures["nve_drift_mev_per_atom_per_ps"]


def test_each_start_of_a_frame_has_velocities_of_its_own_and_says_which_frame_breaks() -> None:
    sections = {"system": "structures", "frame_nve": {"duration_ps": 0.03, "starts": 3}}
    settings = EvaluationSettings.model_validate(sections)
    frames = [dimer("N2").atoms, triangle("O3").atoms]
    found = nve.measure(Bench(PairSprings(20.0, 1.0), settings, frames=frames))
    assert found.values["nve_completed_fraction"] == 1.0
    ends = {found.curves[f"nve_{start}_300k_energy_mev_per_atom"][-1] for start in range(6)}
    assert len(ends) == 6 and "nve_6_300k_time_ps" not in found.curves
    bursting = nve.measure(Bench(PairSprings(20.0, 1.0, breaks_after=20), settings, frames=frames))
    assert bursting.failures["nve_drift_mev_per_atom_per_ps"].startswith("test frame ")
