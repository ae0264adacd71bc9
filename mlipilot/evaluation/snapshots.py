"""Supercells of the reference crystal at a temperature, from which dynamics of every model start.

The settings of both dynamics say how they are made; what is measured of them is in `metrics/`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from mlipilot.errors import MlipilotError
from mlipilot.evaluation.declaration import (
    DurationPs,
    DynamicsLimits,
    FrictionPerPs,
    Kelvin,
    Seed,
    Settings,
    TimestepFs,
)

if TYPE_CHECKING:
    from ase import Atoms

    from mlipilot.evaluation.bench import Bench
    from mlipilot.evaluation.bench_settings import CrystalSettings

Vector = tuple[float, float, float]


class NveSettings(Settings):
    """Constant-energy dynamics (velocity Verlet), once for each temperature."""

    repeats: int = Field(default=2, ge=1, le=8)
    temperatures_k: tuple[Kelvin, ...] = Field(default=(600.0,), min_length=1)
    timestep_fs: TimestepFs = 4.0
    duration_ps: DurationPs = 0.6
    seed: Seed = 11
    limits: DynamicsLimits = DynamicsLimits()


class NvtSettings(Settings):
    """Constant-temperature dynamics (Langevin) for the radial distribution function.

    Model and reference start from the same snapshot, equilibrated with the reference calculator.
    """

    repeats: int = Field(default=2, ge=1, le=8)
    temperature_k: Kelvin = 600.0
    timestep_fs: TimestepFs = 4.0
    friction_per_ps: FrictionPerPs = 10.0
    equilibration_ps: float = Field(default=2.0, ge=0, le=1000)
    """Run with the reference calculator only."""
    duration_ps: DurationPs = 0.6
    sample_every: int = Field(default=5, ge=1, le=1000)
    rdf_max_a: float = Field(default=5.0, gt=1, le=20)
    rdf_bins: int = Field(default=50, ge=10, le=2000)
    seed: Seed = 13
    limits: DynamicsLimits = DynamicsLimits()


class Snapshot(BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """A supercell of the reference crystal at a temperature, equilibrated with the reference calculator."""

    temperature_k: float
    repeats: int
    lattice_constant_a: float
    positions_a: list[Vector]
    velocities_a_per_ps: list[Vector]

    @classmethod
    def of(cls, atoms: Atoms, temperature_k: float, repeats: int, lattice_constant_a: float) -> Snapshot:
        """Positions and velocities of `atoms`."""
        from ase import units

        return cls(
            temperature_k=temperature_k,
            repeats=repeats,
            lattice_constant_a=lattice_constant_a,
            positions_a=atoms.positions.tolist(),
            velocities_a_per_ps=(atoms.get_velocities() * 1000 * units.fs).tolist(),
        )

    def atoms(self, crystal: CrystalSettings) -> Atoms:
        """The structure with its velocities."""
        import numpy as np
        from ase import units

        from mlipilot.evaluation.crystal import cubic_cell

        atoms = cubic_cell(crystal, self.lattice_constant_a, self.repeats)
        atoms.positions = np.array(self.positions_a)
        atoms.set_velocities(np.array(self.velocities_a_per_ps) / (1000 * units.fs))
        return atoms


def equilibrated(bench: Bench, temperature_k: float, repeats: int) -> Snapshot:
    """The crystal on the bench after Langevin dynamics from ideal sites at twice the temperature.

    Raises MlipilotError when the dynamics break.
    """
    return bench.once(
        ("snapshot", temperature_k, repeats), lambda: _equilibrate(bench, temperature_k, repeats)
    )


def _equilibrate(bench: Bench, temperature_k: float, repeats: int) -> Snapshot:
    from mlipilot.evaluation.crystal import cubic_cell
    from mlipilot.evaluation.dynamics import run_nvt, thermalised

    nve, nvt = bench.settings.section(NveSettings), bench.settings.section(NvtSettings)
    constant = bench.lattice.lattice_constant_a
    ideal = cubic_cell(bench.settings.crystal, constant, repeats)
    atoms = thermalised(ideal, 2 * temperature_k, nve.seed)
    atoms.calc = bench.calculator
    noise = nvt.seed + 1  # not that which the measured dynamics will see
    outcome = run_nvt(atoms, nvt, nvt.equilibration_ps, temperature_k, noise)
    if outcome.broken:
        raise MlipilotError(f"the reference itself: {outcome.broken}")
    atoms.set_momenta(atoms.get_momenta() - atoms.get_momenta().mean(axis=0))
    return Snapshot.of(atoms, temperature_k, repeats, constant)
