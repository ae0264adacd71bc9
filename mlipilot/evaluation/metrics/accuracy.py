"""Errors of energy, forces and stress on labelled structures.

For residuals d over all values of a quantity: MAE = mean |d|, RMSE = sqrt(mean d²), worst = max |d|.
Energies count per atom and once a structure; forces by Cartesian component over all atoms; stresses by the
six Voigt components. Units: meV/atom, meV/Å (worst: eV/Å), GPa; 1 eV/Å³ = 160.2177 GPa.
Sets without a stress (molecules, slabs) have the errors of energy and forces only. The MAE counts again,
apart, on cells larger than any that was trained on, and on groups or molecules that nothing was trained on.

The explained variance of the forces, 1 − Σ d² / Σ F², is 1 without an error and 0 for a model of which every
force is zero: a constant, or any sum of atomic energies. Such a one does not drift, its constant-energy
dynamics do not break, and it obeys each law: where a gate on this variance fails, none of the others holds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mlipilot.errors import InputError
from mlipilot.evaluation.declaration import CELLS, FRAMES, Forces, Group, Metric, System
from mlipilot.evaluation.lazily import Array, Atoms, Bench, np
from mlipilot.evaluation.metrics_file import Measurement
from mlipilot.evaluation.panels import Figure, Parity

_FILES = {"": "", "large_cell_": "_large", "unseen_": "_unseen"}
"""What files' names end with, by what the names of the errors on them begin with."""
_PARITY = Figure(
    "parity",
    "Energies and forces on the test split",
    "Model against reference for structures that no training has seen, with the distribution of errors "
    "on a scale that both models share; values beyond an axis lie on its edge. Open circles, if any: "
    "molecules that nothing was trained on.",
)


@dataclass(frozen=True)
class Labels:
    """Energies (S,) in eV/atom, forces (N, 3) in eV/Å and stresses (S, 6) in GPa of S structures, N atoms."""

    energies_ev_per_atom: Array
    forces_ev_per_a: Array
    stresses_gpa: Array | None
    """None where a stress makes no sense."""


def read_labelled(path: Path, *, stress: bool = True) -> tuple[list[Atoms], Labels]:
    """The structures of an extxyz file and their labels. Raises InputError when a label is missing."""
    from ase import units

    from mlipilot.evaluation.frames import read_frames

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
    stresses = np.array([voigt(atoms.info["REF_stress"]) for atoms in structures]) if stress else None
    return structures, Labels(
        np.array([atoms.info["REF_energy"] / len(atoms) for atoms in structures]),
        np.concatenate([atoms.arrays["REF_forces"] for atoms in structures]),
        None if stresses is None else stresses / units.GPa,
    )


def labelled(bench: Bench, prefix: str = "") -> Path:
    """The file that errors of this prefix are made on, such as test/test_large.xyz; it may be missing."""
    return bench.data / bench.split / f"{bench.split}{_FILES[prefix]}.xyz"


def _finite(label: object) -> bool:
    try:
        return bool(np.isfinite(np.asarray(label, dtype=float)).all())
    except (TypeError, ValueError):
        return False


def voigt(stress: Array) -> Array:
    """The six Voigt components, (6,), of a stress of six or nine numbers."""
    from ase.stress import full_3x3_to_voigt_6_stress

    values = np.asarray(stress, dtype=float)
    if values.size == 6:
        return values.reshape(6)
    voigt: Array = full_3x3_to_voigt_6_stress(values.reshape(3, 3))
    return voigt


def _has_stress(bench: Bench, prefix: str = "") -> bool:
    """Whether the labels must have a stress: those of a crystal always, those of molecules never."""
    from mlipilot.evaluation.frames import has_stress, read_frames

    if bench.settings.system != "structures":
        return bench.settings.system == "crystal"
    path = labelled(bench, prefix)
    return bench.once(("stress", path), lambda: has_stress(read_frames(path)))


def measure(bench: Bench, prefix: str = "") -> Measurement:
    """Errors and the explained variance on the test frames; on frames of another kind the two MAEs.

    Parity arrays as curves.
    """
    labels, found = compared(bench, prefix)
    energy = found.energies_ev_per_atom - labels.energies_ev_per_atom
    force = found.forces_ev_per_a - labels.forces_ev_per_a
    curves = {
        f"{prefix}energy_reference_ev_per_atom": labels.energies_ev_per_atom,
        f"{prefix}energy_model_ev_per_atom": found.energies_ev_per_atom,
        f"{prefix}force_reference_ev_per_a": labels.forces_ev_per_a,
        f"{prefix}force_model_ev_per_a": found.forces_ev_per_a,
    }
    values = {
        **_spread(energy * 1000, "energy", "mev_per_atom"),
        **_spread(force * 1000, "force", "mev_per_a"),
    }
    values["force_worst_ev_per_a"] = values.pop("force_worst_mev_per_a") / 1000
    failures = {}
    if squares := float((labels.forces_ev_per_a**2).sum()):
        values["force_variance_explained"] = 1 - float((force**2).sum()) / squares
    else:
        failures["force_variance_explained"] = "every force of the labels is zero"
    if labels.stresses_gpa is not None and found.stresses_gpa is not None:
        values |= _spread(found.stresses_gpa - labels.stresses_gpa, "stress", "gpa")
        curves[f"{prefix}stress_reference_gpa"] = labels.stresses_gpa
        curves[f"{prefix}stress_model_gpa"] = found.stresses_gpa
    if prefix:
        values = {
            f"{prefix}energy_mae_mev_per_atom": 1000 * float(abs(energy).mean()),
            f"{prefix}force_mae_mev_per_a": 1000 * float(abs(force).mean()),
        }
    return Measurement(values, failures, curves)


def compared(bench: Bench, prefix: str = "") -> tuple[Labels, Labels]:
    """The labels of the frames and what the model says of them, made once for all who ask."""

    def make() -> tuple[Labels, Labels]:
        structures, labels = read_labelled(labelled(bench, prefix), stress=_has_stress(bench, prefix))
        return labels, _predictions(bench, structures)

    return bench.once(("compared", prefix), make)


def _predictions(bench: Bench, structures: Sequence[Atoms]) -> Labels:
    """What the model says, in the order of the labels."""
    from ase import units

    found = bench.predict(structures)
    return Labels(
        np.array([one.energy_ev / len(one.forces_ev_per_a) for one in found]),
        np.concatenate([one.forces_ev_per_a for one in found]),
        np.array([one.stress_ev_per_a3 for one in found]) / units.GPa,
    )


def _spread(residuals: Array, quantity: str, unit: str) -> dict[str, float]:
    size = abs(residuals)
    return {
        f"{quantity}_mae_{unit}": float(size.mean()),
        f"{quantity}_rmse_{unit}": math.sqrt((size**2).mean()),
        f"{quantity}_worst_{unit}": float(size.max()),
    }


def _on(prefix: str) -> Callable[[Bench], bool]:
    return lambda bench: labelled(bench, prefix).is_file()


def _apart(name: str, place: int, prefix: str, label: str, systems: tuple[System, ...]) -> Group:
    """The two errors on structures of another kind, where the data have some."""
    energy, force = f"{prefix}energy_mae_mev_per_atom", f"{prefix}force_mae_mev_per_a"
    return Group(
        name=name,
        place=place,
        metrics=(
            Metric(energy, "meV/atom", "lower", f"{label} energy MAE", systems, _on(prefix)),
            Metric(force, "meV/Å", "lower", f"{label} force MAE", systems, _on(prefix)),
        ),
        measure=partial(measure, prefix=prefix),
        sealed=True,
    )


ERRORS = Group(
    name="errors",
    place=10,
    metrics=(
        Metric("energy_mae_mev_per_atom", "meV/atom", "lower", "energy MAE"),
        Metric("energy_rmse_mev_per_atom", "meV/atom", "lower", "energy RMSE"),
        Metric("energy_worst_mev_per_atom", "meV/atom", "lower", "worst energy error"),
        Metric("force_mae_mev_per_a", "meV/Å", "lower", "force MAE", headline=True),
        Metric("force_rmse_mev_per_a", "meV/Å", "lower", "force RMSE"),
        Metric("force_worst_ev_per_a", "eV/Å", "lower", "worst force error"),
        Metric("force_variance_explained", "1", "higher", "explained variance of forces", spread=True),
        Metric("stress_mae_gpa", "GPa", "lower", "stress MAE", CELLS, _has_stress),
        Metric("stress_rmse_gpa", "GPa", "lower", "stress RMSE", CELLS, _has_stress),
        Metric("stress_worst_gpa", "GPa", "lower", "worst stress error", CELLS, _has_stress),
    ),
    measure=measure,
    panels=tuple(
        Parity(figure=_PARITY, title=title, arrays=arrays, unit=unit, milli=True, apart="unseen_")
        for title, arrays, unit in (
            ("Energy", ("energy_reference_ev_per_atom", "energy_model_ev_per_atom"), "eV/atom"),
            ("Force component", ("force_reference_ev_per_a", "force_model_ev_per_a"), "eV/Å"),
        )
    ),
    forces=Forces("force_model_ev_per_a", "force_reference_ev_per_a"),
    sealed=True,
)
LARGE = _apart("large cell", 20, "large_cell_", "large-cell", CELLS)
UNSEEN = _apart("unseen", 30, "unseen_", "unseen", FRAMES)
