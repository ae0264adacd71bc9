"""The true values that a model is compared with, as they are kept in a file beside the data."""

from __future__ import annotations

from typing import Literal

import ase
import numpy as np
from ase import Atoms, units
from pydantic import BaseModel, ConfigDict, Field

from mlipilot.audit.files import sha256_bytes
from mlipilot.evaluation.crystal import cubic_cell
from mlipilot.evaluation.metric_settings import CrystalSettings, EvaluationSettings

_STRICT = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
_USED = {"crystal", "lattice", "elasticity", "vacancy", "compression", "nve", "nvt"}
Vector = tuple[float, float, float]


class Snapshot(BaseModel):
    """A supercell of the reference crystal at a temperature, equilibrated with the reference calculator."""

    model_config = _STRICT

    temperature_k: float
    repeats: int
    lattice_constant_a: float
    positions_a: list[Vector]
    velocities_a_per_ps: list[Vector]

    @classmethod
    def of(cls, atoms: Atoms, temperature_k: float, repeats: int, lattice_constant_a: float) -> Snapshot:
        """Positions and velocities of `atoms`."""
        return cls(
            temperature_k=temperature_k,
            repeats=repeats,
            lattice_constant_a=lattice_constant_a,
            positions_a=atoms.positions.tolist(),
            velocities_a_per_ps=(atoms.get_velocities() * 1000 * units.fs).tolist(),
        )

    def atoms(self, crystal: CrystalSettings) -> Atoms:
        """The structure with its velocities."""
        atoms = cubic_cell(crystal, self.lattice_constant_a, self.repeats)
        atoms.positions = np.array(self.positions_a)
        atoms.set_velocities(np.array(self.velocities_a_per_ps) / (1000 * units.fs))
        return atoms


class ReferenceValues(BaseModel):
    """What the reference calculator says of everything that the metrics compare."""

    model_config = _STRICT

    format: Literal["mlipilot-reference/1"] = "mlipilot-reference/1"
    settings_digest: str
    ase_version: str
    lattice_constant_a: float
    bulk_modulus_gpa: float
    eos_volumes_a3_per_atom: list[float]
    eos_energies_ev_per_atom: list[float]
    c11_gpa: float
    c12_gpa: float
    c44_gpa: float
    vacancy_formation_energy_ev: float
    compressed_pair_energy_ev_per_atom: float
    rdf: list[float] = Field(min_length=1)
    nvt_start: Snapshot
    nve_starts: list[Snapshot] = Field(min_length=1)


def settings_digest(settings: EvaluationSettings) -> str:
    """SHA-256 of the settings that reference values depend on, and of the ASE version that makes them."""
    return sha256_bytes((ase.__version__ + settings.model_dump_json(include=_USED)).encode())


def percent_error(value: float, truth: float) -> float:
    """100 |value − truth| / |truth|."""
    return 100 * abs(value - truth) / abs(truth)
