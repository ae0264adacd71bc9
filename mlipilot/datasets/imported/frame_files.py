"""Labelled frames out of files of any format that ASE reads, in eV, eV/Å and eV/Å³.

ASE from 3.23 on keeps what an extended XYZ file calls `energy`, `forces` and `stress` in a calculator and no
longer in `info` and `arrays`; a program that looks for them by these names finds nothing, and MACE then
trains on isolated atoms of zero energy. Here both places are looked at, and written are names that stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.io import iread
from ase.stress import voigt_6_to_full_3x3_stress
from numpy.typing import NDArray

from mlipilot.datasets.base import DECIMALS, ENERGY_KEY, FORCES_KEY, STRESS_KEY
from mlipilot.errors import InputError
from mlipilot.nearness import near, question
from mlipilot.untrusted import one_line

ENERGIES_IN_EV = {
    "eV": 1.0,
    "meV": 1e-3,
    "Hartree": units.Hartree,
    "Ry": units.Rydberg,
    "kcal/mol": units.kcal / units.mol,
    "kJ/mol": units.kJ / units.mol,
}
PER_ATOM = "/atom"
LENGTHS_IN_A = {"A": 1.0, "Bohr": units.Bohr}
STRESSES_IN_EV_PER_A3 = {"eV/A^3": 1.0, "GPa": units.GPa, "kbar": 0.1 * units.GPa}

SHORTEST_PERIOD_A = 1e-3
"""Vectors of a cell that span less than this in some direction have no volume."""


@dataclass(frozen=True)
class Labels:
    """Where the labels stand in a file, and in which units."""

    energy: str
    forces: str
    stress: str | None = None
    group: str | None = None
    energy_unit: str = "eV"
    forces_unit: str = "eV/A"
    stress_unit: str = "eV/A^3"


@dataclass(frozen=True)
class Frame:
    """One structure with its labels, where it comes from, and what it must share a split with."""

    atoms: Atoms
    """Positions in Å and the labels under our names, and nothing else."""
    place: str
    """FILE, frame N"""
    group: str
    """By the labels' group key; else its chemical formula."""

    @property
    def energy_ev(self) -> float:
        """Of the whole structure."""
        return float(self.atoms.info[ENERGY_KEY])

    @property
    def forces_ev_per_a(self) -> NDArray[np.float64]:
        """Shape (atoms, 3)."""
        return np.asarray(self.atoms.arrays[FORCES_KEY])


def forces_factor(unit: str) -> float:
    """A force unit such as kcal/mol/A or Hartree/Bohr in eV/Å. Raises InputError for another."""
    energy, _, length = unit.rpartition("/")
    if energy not in ENERGIES_IN_EV or length not in LENGTHS_IN_A:
        raise InputError(
            f"unknown unit of forces {unit!r}",
            mend=f"ENERGY/LENGTH of {', '.join(ENERGIES_IN_EV)} and {', '.join(LENGTHS_IN_A)}",
        )
    return float(ENERGIES_IN_EV[energy] / LENGTHS_IN_A[length])


def energy_factor(unit: str) -> tuple[float, bool]:
    """An energy unit in eV, and whether it is one per atom, such as eV/atom. Raises InputError else."""
    name = unit.removesuffix(PER_ATOM)
    return factor(ENERGIES_IN_EV, name, "energies"), name != unit


def factor(table: dict[str, float], unit: str, what: str) -> float:
    """A unit of `table`. Raises InputError for another."""
    if unit not in table:
        raise InputError(f"unknown unit of the {what} {unit!r}", mend=f"one of {', '.join(table)}")
    return table[unit]


def read_frames(files: Sequence[Path], labels: Labels) -> Iterator[Frame]:
    """The frames of `files`, in order. Raises InputError naming the file, the frame and what is there."""
    energy, per_atom = energy_factor(labels.energy_unit)
    forces = forces_factor(labels.forces_unit)
    stress = factor(STRESSES_IN_EV_PER_A3, labels.stress_unit, "stresses")
    for file in files:
        for number, atoms in enumerate(_frames_of(file)):
            found = _Labelled(atoms, file, number)
            found.check_structure()
            frame = Atoms(
                numbers=atoms.numbers,
                positions=np.round(atoms.positions, DECIMALS),
                cell=np.round(atoms.cell.array, DECIMALS),
                pbc=atoms.pbc,
            )
            value = float(found.take(labels.energy, "energy", ())) * energy
            frame.info[ENERGY_KEY] = round(value * len(atoms) if per_atom else value, DECIMALS)
            shape = (len(atoms), 3)
            frame.arrays[FORCES_KEY] = _rounded(found.take(labels.forces, "forces", shape) * forces)
            if labels.stress is not None:
                tensor = found.take(labels.stress, "stress", (3, 3), (9,), (6,))
                if tensor.size == 6:  # in Voigt's order xx, yy, zz, yz, xz, xy
                    tensor = voigt_6_to_full_3x3_stress(tensor)
                frame.info[STRESS_KEY] = _rounded(tensor * stress).ravel()
            yield Frame(frame, found.place, found.group(labels.group))


def _rounded(values: NDArray[np.float64]) -> NDArray[np.float64]:
    rounded: NDArray[np.float64] = np.round(values, DECIMALS) + 0.0  # no −0.0
    return rounded


def _frames_of(file: Path) -> Iterator[Atoms]:
    if not file.is_file():
        raise InputError("no such file", file=file, mend="give the files that hold the structures")
    frames = iread(file, index=":")
    number = 0
    while True:
        try:
            atoms = next(frames)
        except StopIteration:
            break
        # whatever a reader of one of ASE's seventy formats raises for a file that is none
        except Exception as error:  # noqa: BLE001
            said = one_line(f"{type(error).__name__}: {error}", 200)
            raise InputError(
                f"frame {number} cannot be read: {said}", file=file, mend="see what ASE reads"
            ) from None
        number += 1
        yield atoms
    if number == 0:
        raise InputError("there is no structure in it", file=file)


class _Labelled:
    """One frame as ASE read it."""

    def __init__(self, atoms: Atoms, file: Path, number: int) -> None:
        self.atoms, self.file, self.number = atoms, file, number
        results: dict[str, Any] = dict(atoms.calc.results) if atoms.calc is not None else {}
        self.known: dict[str, Any] = results | atoms.info | atoms.arrays

    @property
    def place(self) -> str:
        return f"{self.file}, frame {self.number}"

    def wrong(self, what: str, mend: str) -> InputError:
        return InputError(f"frame {self.number}: {what}", file=self.file, mend=mend)

    def check_structure(self) -> None:
        """Raises InputError for what is no structure: no atoms, no element, no place, no periods."""
        atoms = self.atoms
        if len(atoms) == 0:
            raise self.wrong("there are no atoms", "leave the frame out")
        for index in np.flatnonzero(atoms.numbers < 1):
            raise self.wrong(f"atom {index} is an X, which is no element", "name the element")
        for index in np.flatnonzero(~np.isfinite(atoms.positions).all(axis=1)):
            raise self.wrong(f"atom {index} is at {atoms.positions[index]}", "leave the frame out")
        cell = atoms.cell.array
        if not np.isfinite(cell).all():
            raise self.wrong(f"the cell is {cell.tolist()}", "leave the frame out")
        directions = int(atoms.pbc.sum())
        if directions and np.linalg.matrix_rank(cell[atoms.pbc], tol=SHORTEST_PERIOD_A) < directions:
            raise self.wrong(
                f"it is periodic in {directions} direction(s), but the cell is {cell.tolist()}",
                "give the cell, or say that it is not periodic (pbc)",
            )

    def take(self, key: str, option: str, *shapes: tuple[int, ...]) -> NDArray[np.float64]:
        """The numbers under `key`, finite and of one of `shapes`."""
        if key not in self.known:
            there = sorted(name for name in self.known if name not in ("numbers", "positions"))
            listed = one_line(", ".join(there), 200) or "no label at all"
            meant = question(f"--{option}-key {name}" for name in near(key, there))
            raise self.wrong(f"there is no {key!r}", meant or f"it has {listed}: --{option}-key")
        try:
            values = np.asarray(self.known[key], dtype=float)
        except (TypeError, ValueError):
            raise self.wrong(f"{key} is no number", f"--{option}-key names something else") from None
        if values.shape not in shapes:
            expected = " or ".join(map(str, shapes))
            raise self.wrong(
                f"{key} has the shape {values.shape}, and {expected} is expected",
                f"--{option}-key names something else",
            )
        if not np.isfinite(values).all():
            raise self.wrong(f"{key} holds what is no finite number", "leave the frame out")
        return values

    def group(self, key: str | None) -> str:
        if key is None:
            return str(self.atoms.get_chemical_formula(mode="hill"))
        if key not in self.atoms.info:
            raise self.wrong(f"there is no {key!r} to group by", "--group-key names an entry of every frame")
        return one_line(str(self.atoms.info[key]), 80)
