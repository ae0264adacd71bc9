"""Units and stops of the dynamics, on systems whose motion is known in closed form."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes

from mlipilot.evaluation.declaration import DynamicsLimits
from mlipilot.evaluation.dynamics import run_nve, run_nvt, steps_in, thermalised, vibrating
from mlipilot.evaluation.snapshots import NvtSettings

LIMITS = DynamicsLimits()
WIDE = DynamicsLimits(max_force_ev_per_a=1e9, max_temperature_factor=1e9)


class Springs(Calculator):  # type: ignore[misc]  # ASE has no types
    """Each atom on a spring (eV/Å²) at the origin; after `breaks_after` calls the forces are `broken`."""

    implemented_properties = ("energy", "forces")

    def __init__(self, constant: float, breaks_after: int = 10**9, broken: float = math.nan) -> None:
        super().__init__()
        self.constant, self.breaks_after, self.broken, self.calls = constant, breaks_after, broken, 0

    def calculate(
        self,
        atoms: Any = None,
        properties: Any = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        forces = -self.constant * atoms.positions
        if self.calls > self.breaks_after:
            forces = np.full_like(forces, self.broken)
        self.results = {"energy": 0.5 * self.constant * float((atoms.positions**2).sum()), "forces": forces}


def langevin(timestep_fs: float, friction_per_ps: float) -> NvtSettings:
    return NvtSettings(timestep_fs=timestep_fs, friction_per_ps=friction_per_ps, limits=WIDE)


def atom(calculator: Calculator, position_a: float = 0.1) -> Atoms:
    atoms = Atoms("Cu", positions=[[position_a, 0, 0]])
    atoms.calc = calculator
    return atoms


def test_an_oscillator_returns_after_its_period_in_picoseconds() -> None:
    # m in kg, k in N/m: T = 2π √(m/k), about 0.16 ps here
    constant = 10.0  # eV/Å²
    mass_kg = Atoms("Cu").get_masses()[0] * 1.66053906660e-27
    period_ps = 2 * math.pi * math.sqrt(mass_kg / (constant * 16.02176634)) * 1e12
    atoms = atom(Springs(constant))
    steps = 1000
    run_nve(atoms, period_ps * 1000 / steps, steps, 300.0, WIDE)
    assert atoms.positions[0, 0] == pytest.approx(0.1, rel=1e-4)
    run_nve(atoms, period_ps * 1000 / steps, steps // 2, 300.0, WIDE)
    assert atoms.positions[0, 0] == pytest.approx(-0.1, rel=1e-3)


def test_friction_slows_a_free_atom_by_its_rate_per_picosecond() -> None:
    atoms = Atoms("Cu", positions=[[0.0, 0, 0]])
    atoms.calc = Springs(0.0)
    atoms.set_velocities([[0.01, 0, 0]])
    # at a vanishing temperature only the friction is left: v(t) = v(0) exp(−γ t)
    outcome = run_nvt(atoms, langevin(1.0, 5.0), 0.2, 1e-6, seed=0)
    assert outcome.broken is None
    assert atoms.get_velocities()[0, 0] == pytest.approx(0.01 * math.exp(-5.0 * 0.2), rel=1e-2)


def test_langevin_dynamics_reach_the_asked_temperature() -> None:
    atoms = Atoms("Cu64", positions=np.zeros((64, 3)))
    atoms.calc = Springs(5.0)
    seen: list[float] = []
    run_nvt(atoms, langevin(4.0, 10.0), 6.0, 600.0, 1, lambda _: seen.append(atoms.get_temperature()))
    assert np.mean(seen[500:]) == pytest.approx(600.0, rel=0.05)


def test_maxwell_velocities_have_the_temperature_and_no_net_momentum() -> None:
    atoms = thermalised(Atoms("Cu500", positions=np.zeros((500, 3))), 600.0, seed=2)
    assert atoms.get_temperature() == pytest.approx(600.0, rel=0.1)
    np.testing.assert_allclose(atoms.get_momenta().sum(axis=0), 0, atol=1e-9)


@pytest.mark.parametrize(
    ("molecule", "vibrations"),
    [
        (Atoms("OH2", positions=[[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]), 3),
        (Atoms("CO2", positions=[[0, 0, 0], [0, 0, 1.16], [0, 0, -1.16]]), 4),
        (Atoms("N2", positions=[[0, 0, 0], [0.6, 0.6, 0.6]]), 1),
        (Atoms("O"), 0),
    ],
)
def test_the_vibrations_of_a_molecule_have_the_temperature_exactly(molecule: Atoms, vibrations: int) -> None:
    moved = vibrating(molecule, 600.0, seed=2)
    assert moved.get_kinetic_energy() == pytest.approx(vibrations / 2 * units.kB * 600.0, abs=1e-12)
    np.testing.assert_allclose(moved.get_momenta().sum(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(moved.get_angular_momentum(), 0, atol=1e-9)
    assert not molecule.get_momenta().any()


def test_energies_are_sampled_at_every_step_and_the_start() -> None:
    outcome, energies = run_nve(atom(Springs(5.0)), 1.0, 10, 300.0, WIDE)
    assert outcome.completed_fraction == 1.0
    assert len(energies) == 11
    assert energies[0] == pytest.approx(0.5 * 5.0 * 0.1**2)


@pytest.mark.parametrize(
    ("calculator", "reason"),
    [
        (Springs(5.0, breaks_after=4, broken=math.nan), "not a finite number"),
        (Springs(5.0, breaks_after=4, broken=math.inf), "not a finite number"),
        (Springs(5.0, breaks_after=4, broken=60.0), "above 50"),
        (Springs(5.0, breaks_after=4, broken=40.0), "above 5 × 300 K"),
    ],
)
def test_broken_dynamics_stop_with_a_reason_and_a_fraction(calculator: Springs, reason: str) -> None:
    outcome, energies = run_nve(atom(calculator), 4.0, 100, 300.0, LIMITS)
    assert outcome.broken is not None
    assert reason in outcome.broken
    assert 0 < outcome.completed_fraction < 1
    assert len(energies) <= outcome.steps_done + 1


def test_the_same_seed_gives_the_same_trajectory() -> None:
    def end(seed: int) -> float:
        atoms = atom(Springs(5.0))
        run_nvt(atoms, langevin(4.0, 10.0), 0.2, 600.0, seed)
        return float(atoms.positions[0, 0])

    assert end(1) == end(1) != end(2)


def test_durations_become_whole_steps() -> None:
    assert steps_in(1.0, 4.0) == 250
    assert steps_in(1e-6, 4.0) == 1
    assert units.fs == pytest.approx(0.0982, rel=1e-3)  # the factor that is easily forgotten
