"""What is no structure is refused, with its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from mlipilot.errors import InputError

from .made import imported, structures, written


def x_for_an_element(atoms: Atoms) -> None:
    atoms.numbers[1] = 0


def no_position(atoms: Atoms) -> None:
    atoms.positions[1, 2] = np.nan


def infinite_cell(atoms: Atoms) -> None:
    atoms.cell = np.diag([9.0, 9.0, np.inf])


def periodic_without_a_cell(atoms: Atoms) -> None:
    atoms.pbc = True


def two_vectors_alike(atoms: Atoms) -> None:
    atoms.cell, atoms.pbc = [[9, 0, 0], [9, 0, 0], [0, 0, 9]], True


def no_atoms(atoms: Atoms) -> None:
    del atoms[:]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (x_for_an_element, "atom 1 is an X"),
        (no_position, "atom 1 is at"),
        (infinite_cell, "the cell is"),
        (periodic_without_a_cell, r"periodic in 3 direction\(s\), but the cell is"),
        (two_vectors_alike, r"periodic in 3 direction\(s\), but the cell is"),
        (no_atoms, "no atoms"),
    ],
)
def test_what_is_no_structure_is_named_with_its_place(
    labelled: list[Atoms], tmp_path: Path, change: Callable[[Atoms], None], told: str
) -> None:
    frames = [atoms.copy() for atoms in labelled]
    change(frames[3])
    with pytest.raises(InputError, match=rf"set\.xyz: frame 3: .*{told}"):
        imported(written(tmp_path / "set.xyz", frames))
    assert [entry.name for entry in tmp_path.iterdir()] == ["set.xyz"]


def test_a_slab_needs_no_third_vector(tmp_path: Path) -> None:
    def as_slab(atoms: Atoms) -> None:
        atoms.cell, atoms.pbc = np.diag([9.0, 9.0, 0.0]), (True, True, False)

    assert not imported(written(tmp_path / "set.xyz", structures(2), as_slab)).periodic
