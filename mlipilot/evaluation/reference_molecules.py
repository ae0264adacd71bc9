"""Molecules with known properties: what `test/equilibrium.xyz` and `test/scan.xyz` hold.

`equilibrium.xyz`: one frame for each molecule, its positions (Å) relaxed by the method of the labels. Info:
`molecule`, a name of its own; `frequencies_per_cm`, the harmonic frequencies (cm⁻¹) in any order, 3N − 6 of
them or 3N − 5 of a linear molecule, imaginary ones negative, with ASE's standard atomic masses.

`scan.xyz`: frames along bond or torsion scans, in their order. Info: `scan`, the name of the scan that the
frame belongs to; `coordinate`, evenly spaced within a scan (Å or degrees); `REF_energy` (eV). A scan has five
frames or more.

Neither needs forces, and `equilibrium.xyz` no energy. Scans may be absent: then they are not measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from mlipilot.errors import InputError
from mlipilot.evaluation.frames import read_frames

EQUILIBRIUM, SCAN = "test/equilibrium.xyz", "test/scan.xyz"
MIN_POINTS = 5

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Molecule:
    """A molecule at its true equilibrium."""

    name: str
    atoms: Atoms
    frequencies_per_cm: Array
    """Ascending, (3N − 6,) or (3N − 5,); imaginary ones negative."""


@dataclass(frozen=True)
class Scan:
    """The true energy along a path of P geometries."""

    name: str
    frames: list[Atoms]
    coordinates: Array
    """(P,), evenly spaced."""
    energies_ev: Array
    """(P,)"""


def read_molecules(path: Path) -> list[Molecule]:
    """The molecules of an `equilibrium.xyz`. Raises InputError naming the frame and what is wrong."""
    molecules: dict[str, Molecule] = {}
    for number, atoms in enumerate(read_frames(path)):
        name = str(_info(atoms, "molecule", number, path))
        if name in molecules:
            raise InputError(f"frame {number}: there are two molecules named {name!r}", file=path)
        if atoms.pbc.any():
            raise InputError(f"frame {number} ({name}) is periodic", file=path, mend='write pbc="F F F"')
        # extxyz readers turn nine numbers into a matrix and one into a scalar
        given = np.ravel(_info(atoms, "frequencies_per_cm", number, path))
        frequencies = np.sort(_numbers(given, f"frame {number} ({name}): frequencies_per_cm", path))
        freedoms = 3 * len(atoms)
        if len(frequencies) not in (freedoms - 6, freedoms - 5) or len(frequencies) == 0:
            raise InputError(
                f"frame {number} ({name}): {len(atoms)} atoms with {len(frequencies)} frequencies_per_cm",
                file=path,
                mend=f"give all {freedoms - 6}, or {freedoms - 5} if it is linear",
            )
        molecules[name] = Molecule(name, atoms, frequencies)
    return list(molecules.values())


def read_scans(path: Path) -> list[Scan]:
    """The scans of a `scan.xyz`. Raises InputError naming the scan and what is wrong."""
    groups: dict[str, list[tuple[int, Atoms]]] = {}
    for number, atoms in enumerate(read_frames(path)):
        groups.setdefault(str(_info(atoms, "scan", number, path)), []).append((number, atoms))
    return [_scan(name, numbered, path) for name, numbered in groups.items()]


def _scan(name: str, numbered: list[tuple[int, Atoms]], path: Path) -> Scan:
    columns = {
        key: _numbers([_info(atoms, key, number, path) for number, atoms in numbered], f"{name}: {key}", path)
        for key in ("coordinate", "REF_energy")
    }
    steps = np.diff(columns["coordinate"])
    if len(numbered) < MIN_POINTS or not np.allclose(steps, steps[0], rtol=1e-3) or steps[0] == 0:
        raise InputError(
            f"the scan {name!r} has {len(numbered)} frames that are not evenly spaced, or too few",
            file=path,
            mend=f"give {MIN_POINTS} or more frames in the order of their coordinate, with one spacing",
        )
    return Scan(name, [atoms for _, atoms in numbered], columns["coordinate"], columns["REF_energy"])


def _info(atoms: Atoms, key: str, number: int, path: Path) -> Any:
    if key not in atoms.info:
        raise InputError(f"frame {number} has no {key}", file=path)
    return atoms.info[key]


def _numbers(values: Any, what: str, path: Path) -> Array:
    try:
        numbers: Array = np.array(values, dtype=float)
    except (TypeError, ValueError):
        numbers = np.array([np.nan])
    if numbers.ndim != 1 or not np.isfinite(numbers).all():
        raise InputError(f"{what} is not made of finite numbers", file=path)
    return numbers
