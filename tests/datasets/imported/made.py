"""Labelled structures, and their import."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.io import write

from mlipilot.datasets.imported.frame_files import Frame, Labels
from mlipilot.datasets.imported.importing import Import, import_files

LABELS = Labels("energy", "forces")
NAMES = ("H2O", "NH3", "CH4", "CO2", "H2CO")


def structures(each: int = 6, names: tuple[str, ...] = NAMES) -> list[Atoms]:
    """Rattled molecules with EMT's energies (eV) and forces (eV/Å)."""
    rng = np.random.default_rng(5)
    made = []
    for name in names:
        for _ in range(each):
            atoms = molecule(name)
            atoms.positions += rng.normal(scale=0.04, size=atoms.positions.shape)
            atoms.calc = EMT()
            atoms.info["energy"], atoms.arrays["forces"] = atoms.get_potential_energy(), atoms.get_forces()
            atoms.calc = None
            made.append(atoms)
    return made


def written(path: Path, frames: list[Atoms], change: Callable[[Atoms], None] | None = None) -> Path:
    copies = [frame.copy() for frame in frames]
    for copy in copies:
        if change is not None:
            change(copy)
    write(path, copies, format="extxyz")
    return path


def imported(file: Path, labels: Labels = LABELS, drop_outliers: bool = False) -> Import:
    return import_files([file], labels, "set", file.parent / "out", seed=1, drop_outliers=drop_outliers)


def frames_of(atoms: list[Atoms]) -> list[Frame]:
    for one in atoms:
        one.info["REF_energy"], one.arrays["REF_forces"] = one.info["energy"], one.arrays["forces"]
    return [Frame(one, str(index), "g") for index, one in enumerate(atoms)]


def per_atom(atoms: Atoms) -> None:
    atoms.info["energy"] /= len(atoms)
