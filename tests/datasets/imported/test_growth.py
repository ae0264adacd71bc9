"""Energies of whole structures grow with the number of atoms, and those per atom do not."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from mlipilot.datasets.imported.frame_files import Labels
from mlipilot.datasets.imported.label_checks import check_consistency
from mlipilot.errors import InputError

from .made import LABELS, frames_of, imported, per_atom, structures, written


def one_of_each(name: str, many: int) -> list[Atoms]:
    """Chains of carbon with hydrogen, or cells of copper, each strained its own way: no two frames alike.

    Energies (eV) count from free electrons and nuclei (carbon), or from the crystal (copper).
    """
    rng = np.random.default_rng(7)
    made = []
    for size in range(1, many + 1):
        if name == "chain":
            atoms = Atoms(f"C{size}H{2 * rng.integers(1, size + 2)}")
            atoms.positions = 2 * np.arange(len(atoms))[:, None] + rng.normal(
                scale=0.05, size=(len(atoms), 3)
            )
            zero = sum({"C": -1030.0, "H": -16.0}[symbol] for symbol in atoms.symbols)
        else:
            atoms = bulk("Cu", cubic=True).repeat((size, 1, 1))
            atoms.set_cell(atoms.cell * rng.normal(1, 0.01), scale_atoms=True)
            zero = 0.0
        atoms.info["energy"] = zero + len(atoms) * rng.normal(0.1, 0.05)
        atoms.arrays["forces"] = rng.normal(size=(len(atoms), 3))
        made.append(atoms)
    return made


@pytest.mark.parametrize(
    ("name", "unit", "change", "mend"),
    [
        ("chain", "eV", per_atom, "--energy-unit eV/atom if"),
        ("chain", "Hartree", per_atom, "--energy-unit Hartree/atom if"),
        ("chain", "eV/atom", None, "--energy-unit eV if"),
        ("chain", "eV", None, None),
        ("chain", "eV/atom", per_atom, None),
        ("crystal", "eV", None, None),
    ],
)
def test_energies_grow_with_the_number_of_atoms_where_no_forces_vouch_for_them(
    tmp_path: Path, name: str, unit: str, change: Callable[[Atoms], None] | None, mend: str | None
) -> None:
    path = written(tmp_path / "set.xyz", one_of_each(name, 12), change)
    labels = Labels("energy", "forces", energy_unit=unit)
    if mend is not None:
        with pytest.raises(InputError, match="suspicious energies") as told:
            imported(path, labels)
        assert mend in str(told.value)
    else:
        found = imported(path, labels)
        assert found.consistency.slope is None
        assert "units not verified" in found.warnings[0]


def alloys() -> list[Atoms]:
    """Nine compositions of twelve atoms."""
    made = [Atoms(f"Cu{copper}Ni{12 - copper}", info={"energy": -40.0}) for copper in range(2, 11)]
    for atoms in made:
        atoms.arrays["forces"] = np.zeros((12, 3))
    return made


@pytest.mark.parametrize(
    "make",
    [partial(one_of_each, "chain", 4), partial(one_of_each, "crystal", 3), partial(structures, 1), alloys],
)
def test_too_few_formulas_or_one_size_conclude_nothing_of_how_energies_grow(
    make: Callable[[], list[Atoms]],
) -> None:
    frames = make()
    for atoms in frames:
        per_atom(atoms)
    assert check_consistency(frames_of(frames), LABELS).slope is None
