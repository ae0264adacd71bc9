"""Molecular dynamics that notices when it breaks.

ASE's integrators; times are counted as steps × `timestep_fs`, so that ASE's own time unit (about 10.18 fs)
enters in exactly one place, where the integrator is made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from ase import Atoms, units
from ase.md.langevin import Langevin
from ase.md.md import MolecularDynamics
from ase.md.velocitydistribution import Stationary, ZeroRotation, thermalize_momenta
from ase.md.verlet import VelocityVerlet
from numpy.typing import NDArray

from mlipilot.evaluation.declaration import DynamicsLimits

Seed = int | np.random.SeedSequence


@dataclass(frozen=True)
class Outcome:
    """How far a trajectory came."""

    steps_done: int
    steps_asked: int
    broken: str | None
    """Why it stopped early; None when it did not."""

    @property
    def completed_fraction(self) -> float:
        """Share of the asked steps; 1 exactly when nothing broke."""
        return 1.0 if self.broken is None else min(self.steps_done / self.steps_asked, 1 - 1e-9)


class LangevinSettings(Protocol):
    """What the dynamics read of a section of settings."""

    @property
    def timestep_fs(self) -> float: ...  # noqa: D102 - its name says it
    @property
    def friction_per_ps(self) -> float: ...  # noqa: D102
    @property
    def limits(self) -> DynamicsLimits: ...  # noqa: D102


class BrokenError(Exception):
    """Ends a trajectory; the text says why. An observer may raise it."""


def steps_in(duration_ps: float, timestep_fs: float) -> int:
    """Whole steps in a duration; at least one."""
    return max(1, round(duration_ps * 1000 / timestep_fs))


def thermalised(atoms: Atoms, temperature_k: float, seed: Seed) -> Atoms:
    """A copy with Maxwell-Boltzmann velocities and its centre of mass at rest."""
    copy: Atoms = atoms.copy()
    if len(copy) == 1:  # it is its own centre of mass
        copy.set_momenta(np.zeros((1, 3)))
        return copy
    rng = np.random.default_rng(seed)
    thermalize_momenta(copy, temperature_K=temperature_k, rng=rng)
    Stationary(copy)
    return copy


def vibrating(atoms: Atoms, temperature_k: float, seed: int) -> Atoms:
    """A copy of a molecule that neither moves on nor turns, its vibrations holding kT/2 each, exactly.

    They are 3N − 6 in number, 3N − 5 of a linear molecule; of an atom alone there are none. In a molecule of
    few atoms velocities that are only drawn scatter by half around their temperature, and much of them is
    translation and rotation, which break no bond.
    """
    copy = thermalised(atoms, temperature_k, seed)
    with np.errstate(invalid="ignore"):  # a linear molecule has no moment of inertia around its axis
        ZeroRotation(copy, preserve_temperature=False)
    kinetic_ev = copy.get_kinetic_energy()
    if kinetic_ev > 0:
        wanted_ev = _vibrations(copy) / 2 * units.kB * temperature_k
        copy.set_momenta(copy.get_momenta() * np.sqrt(wanted_ev / kinetic_ev))
    return copy


def _vibrations(molecule: Atoms) -> int:
    """3N less the translations and the axes around which turning moves any atom."""
    centred = molecule.positions - molecule.get_center_of_mass()
    turns = [np.cross(axis, centred).ravel() for axis in np.eye(3)]
    return 3 * len(molecule) - 3 - int(np.linalg.matrix_rank(np.array(turns), tol=1e-3))


def run_nve(
    atoms: Atoms,
    timestep_fs: float,
    steps: int,
    temperature_k: float,
    limits: DynamicsLimits,
    observe: Callable[[int], None] = lambda _: None,
) -> tuple[Outcome, NDArray[np.float64]]:
    """Velocity Verlet from the velocities that `atoms` have; `observe` as in `run_nvt`.

    Returns the outcome and the total energy in eV at every step done, the start included.
    `temperature_k` only scales the limit on the temperature.
    """
    energies: list[float] = []

    def note(step: int) -> None:
        observe(step)
        energies.append(atoms.get_total_energy())

    integrator = VelocityVerlet(atoms, timestep=timestep_fs * units.fs)
    outcome = _run(integrator, atoms, steps, temperature_k, limits, note)
    return outcome, np.array(energies)


def run_nvt(
    atoms: Atoms,
    settings: LangevinSettings,
    duration_ps: float,
    temperature_k: float,
    seed: Seed,
    observe: Callable[[int], None] = lambda _: None,
) -> Outcome:
    """Langevin dynamics; `observe(step)` is called at every step done, the start included."""
    integrator = Langevin(
        atoms,
        timestep=settings.timestep_fs * units.fs,
        temperature_K=temperature_k,
        friction=settings.friction_per_ps / (1000 * units.fs),
        fixcm=False,
        rng=np.random.default_rng(seed),
    )
    steps = steps_in(duration_ps, settings.timestep_fs)
    return _run(integrator, atoms, steps, temperature_k, settings.limits, observe)


def _run(
    integrator: MolecularDynamics,
    atoms: Atoms,
    steps: int,
    temperature_k: float,
    limits: DynamicsLimits,
    observe: Callable[[int], None],
) -> Outcome:
    def check() -> None:
        fault = _fault(atoms, temperature_k, limits)
        if fault:
            raise BrokenError(fault)
        observe(integrator.nsteps)

    integrator.attach(check, interval=1)
    try:
        integrator.run(steps)
    except BrokenError as error:
        return Outcome(integrator.nsteps, steps, f"the dynamics broke at step {integrator.nsteps}: {error}")
    return Outcome(steps, steps, None)


def _fault(atoms: Atoms, temperature_k: float, limits: DynamicsLimits) -> str | None:
    forces = atoms.get_forces()
    if not (np.isfinite(forces).all() and np.isfinite(atoms.positions).all()):
        return "a force or a position is not a finite number"
    largest = float(np.abs(forces).max())
    if largest > limits.max_force_ev_per_a:
        return f"a force of {largest:.3g} eV/Å is above {limits.max_force_ev_per_a:g}"
    temperature = float(atoms.get_temperature())
    if temperature > limits.max_temperature_factor * temperature_k:
        return f"{temperature:.4g} K is above {limits.max_temperature_factor:g} × {temperature_k:g} K"
    return None
