"""Errors of energy, forces and stress on labelled structures.

For residuals d over all values of a quantity: MAE = mean |d|, RMSE = sqrt(mean d²), worst = max |d|.
Energies count per atom and once a structure; forces by Cartesian component over all atoms; stresses by the
six Voigt components. Units: meV/atom, meV/Å (worst: eV/Å), GPa; 1 eV/Å³ = 160.2177 GPa.
Sets without a stress (molecules, slabs) have the errors of energy and forces only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from mlipilot.errors import InputError
from mlipilot.evaluation.frames import read_frames
from mlipilot.evaluation.results import Measurement
from mlipilot.evaluation.subject import Subject

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Labels:
    """Energies (S,) in eV/atom, forces (N, 3) in eV/Å and stresses (S, 6) in GPa of S structures, N atoms."""

    energies_ev_per_atom: Array
    forces_ev_per_a: Array
    stresses_gpa: Array | None
    """None where a stress makes no sense."""


def read_labelled(path: Path, *, stress: bool = True) -> tuple[list[Atoms], Labels]:
    """The structures of an extxyz file and their labels. Raises InputError when a label is missing."""
    structures = read_frames(path)
    wanted = {"REF_energy", "REF_stress"} if stress else {"REF_energy"}
    for number, atoms in enumerate(structures):
        absent = wanted - atoms.info.keys() | {"REF_forces"} - atoms.arrays.keys()
        if absent:
            raise InputError(f"structure {number} has no {', '.join(sorted(absent))}", file=path)
        forces = np.asarray(atoms.arrays["REF_forces"])
        if forces.shape != (len(atoms), 3) or not (_finite(forces) and _finite(atoms.info["REF_energy"])):
            raise InputError(
                f"structure {number}: REF_energy or REF_forces are not finite numbers", file=path
            )
    stresses = np.array([_voigt(atoms.info["REF_stress"]) for atoms in structures]) if stress else None
    return structures, Labels(
        np.array([atoms.info["REF_energy"] / len(atoms) for atoms in structures]),
        np.concatenate([atoms.arrays["REF_forces"] for atoms in structures]),
        None if stresses is None else stresses / units.GPa,
    )


def _finite(label: object) -> bool:
    try:
        return bool(np.isfinite(np.asarray(label, dtype=float)).all())
    except (TypeError, ValueError):
        return False


def _voigt(stress: Array) -> Array:
    values = np.asarray(stress, dtype=float)
    if values.size == 6:
        return values.reshape(6)
    voigt: Array = full_3x3_to_voigt_6_stress(values.reshape(3, 3))
    return voigt


def measure(subject: Subject, labelled: Path, *, stress: bool = True) -> Measurement:
    """The nine errors on the structures in `labelled`, six without `stress`; parity arrays as curves."""
    structures, labels = read_labelled(labelled, stress=stress)
    found = _predictions(subject, structures)
    energy = found.energies_ev_per_atom - labels.energies_ev_per_atom
    force = found.forces_ev_per_a - labels.forces_ev_per_a
    values = {
        **_spread(energy * 1000, "energy", "mev_per_atom"),
        **_spread(force * 1000, "force", "mev_per_a"),
    }
    if labels.stresses_gpa is not None:
        values |= _spread(found.stresses_gpa - labels.stresses_gpa, "stress", "gpa")
    values["force_worst_ev_per_a"] = values.pop("force_worst_mev_per_a") / 1000
    return Measurement(values, curves=_parity("", labels, found))


def measure_large_cell(subject: Subject, labelled: Path, *, stress: bool = True) -> Measurement:
    """Energy and force MAE on cells larger than any that was trained on."""
    return _mean_errors("large_cell_", subject, labelled, stress=stress)


def measure_unseen(subject: Subject, labelled: Path, *, stress: bool = True) -> Measurement:
    """Energy and force MAE on molecules, or other groups, of which nothing was trained on."""
    return _mean_errors("unseen_", subject, labelled, stress=stress)


def _mean_errors(prefix: str, subject: Subject, labelled: Path, *, stress: bool) -> Measurement:
    structures, labels = read_labelled(labelled, stress=stress)
    found = _predictions(subject, structures)
    return Measurement(
        {
            f"{prefix}energy_mae_mev_per_atom": 1000
            * float(np.abs(found.energies_ev_per_atom - labels.energies_ev_per_atom).mean()),
            f"{prefix}force_mae_mev_per_a": 1000
            * float(np.abs(found.forces_ev_per_a - labels.forces_ev_per_a).mean()),
        },
        curves=_parity(prefix, labels, found),
    )


@dataclass(frozen=True)
class _Found:
    """What the subject says, in the order and units of `Labels`."""

    energies_ev_per_atom: Array
    forces_ev_per_a: Array
    stresses_gpa: Array


def _predictions(subject: Subject, structures: Sequence[Atoms]) -> _Found:
    found = subject.predict(structures)
    return _Found(
        np.array([one.energy_ev / len(one.forces_ev_per_a) for one in found]),
        np.concatenate([one.forces_ev_per_a for one in found]),
        np.array([one.stress_ev_per_a3 for one in found]) / units.GPa,
    )


def _spread(residuals: Array, quantity: str, unit: str) -> dict[str, float]:
    size = np.abs(residuals)
    return {
        f"{quantity}_mae_{unit}": float(size.mean()),
        f"{quantity}_rmse_{unit}": float(np.sqrt((size**2).mean())),
        f"{quantity}_worst_{unit}": float(size.max()),
    }


def _parity(prefix: str, labels: Labels, found: _Found) -> dict[str, Array]:
    curves = {
        f"{prefix}energy_reference_ev_per_atom": labels.energies_ev_per_atom,
        f"{prefix}energy_model_ev_per_atom": found.energies_ev_per_atom,
        f"{prefix}force_reference_ev_per_a": labels.forces_ev_per_a,
        f"{prefix}force_model_ev_per_a": found.forces_ev_per_a,
    }
    if labels.stresses_gpa is None:
        return curves
    return curves | {
        f"{prefix}stress_reference_gpa": labels.stresses_gpa,
        f"{prefix}stress_model_gpa": found.stresses_gpa,
    }
