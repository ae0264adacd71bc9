"""Frames of extxyz files in the data directory, and those few of them that stand for the set.

`test/test.xyz` and, where there are some, `test/test_large.xyz` (larger systems) and `test/test_unseen.xyz`
(groups or molecules of which nothing was trained on) hold labelled frames: REF_energy (eV) in the info,
REF_forces (eV/Å) as an array and, for periodic sets, REF_stress (eV/Å³, tension positive) in the info.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms

from mlipilot.errors import InputError
from mlipilot.evaluation.loaded import read_noted

TEST = "test/test.xyz"


def read_frames(path: Path) -> list[Atoms]:
    """The structures of an extxyz file, one at least. Raises InputError."""
    try:
        text = io.StringIO(read_noted(path).decode())
        frames: list[Atoms] = ase.io.read(text, ":", format="extxyz")
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise InputError(f"not readable as extxyz: {error}", file=path) from None
    if not frames:
        raise InputError("no structure in it", file=path)
    return frames


def spread(count: int, available: int) -> list[int]:
    """At most `count` indices below `available`, evenly spread, the first and the last among them."""
    return sorted({round(index) for index in np.linspace(0, available - 1, count)})


def bench_frames(path: Path, count: int) -> list[Atoms]:
    """At most `count` frames of more than one atom, evenly spread over the file. Raises InputError."""
    frames = [atoms for atoms in read_frames(path) if len(atoms) > 1]
    if not frames:
        raise InputError("every frame is a single atom", file=path, mend="molecules or cells are needed")
    return [frames[index] for index in spread(count, len(frames))]


def displaced(atoms: Atoms, components: Iterable[int], step_a: float) -> list[Atoms]:
    """Copies with one Cartesian component, counted along all atoms, a step up and a step down, in turn."""
    copies = []
    for component in components:
        for sign in (+1, -1):
            copy = atoms.copy()
            copy.positions.reshape(-1)[component] += sign * step_a
            copies.append(copy)
    return copies


def has_stress(frames: Sequence[Atoms]) -> bool:
    """Whether a stress error makes sense: every frame is fully periodic and labelled with one."""
    return all(atoms.pbc.all() and "REF_stress" in atoms.info for atoms in frames)
