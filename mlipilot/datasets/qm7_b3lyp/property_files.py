"""Molecules with known properties, as the evaluator reads them (`evaluation/reference_molecules.py`)."""

from __future__ import annotations

import io

from ase import Atoms
from ase.io import write
from pydantic import BaseModel

from mlipilot.datasets.base import ENERGY_KEY

EQUILIBRIUM, SCAN = "test/equilibrium.xyz", "test/scan.xyz"
_ORIGIN = "the toolkit's own, not QM7"
_Places = list[tuple[float, float, float]]


class Minimum(BaseModel, extra="forbid", frozen=True):
    """A molecule relaxed by the method of the labels."""

    molecule: str
    numbers: list[int]
    positions_a: _Places
    energy_ev: float
    frequencies_per_cm: list[float]
    """Harmonic, ascending, 3N − 6 or 3N − 5 of them."""


class Point(BaseModel, extra="forbid", frozen=True):
    """One geometry of a scan."""

    coordinate: float
    positions_a: _Places
    energy_ev: float


class Scan(BaseModel, extra="forbid", frozen=True):
    """A rigid path, evenly spaced."""

    scan: str
    """What is varied, of which molecule, in which unit."""
    numbers: list[int]
    points: list[Point]


class Reference(BaseModel, extra="forbid", frozen=True):
    """What is shipped beside the labels."""

    method: dict[str, str | int | float | bool]
    minima: list[Minimum]
    scans: list[Scan]

    def files(self) -> dict[str, str]:
        """Extended XYZ by path in the data set."""
        minima = []
        for minimum in self.minima:
            atoms = Atoms(minimum.numbers, minimum.positions_a)
            atoms.info = {
                "molecule": minimum.molecule,
                "origin": _ORIGIN,
                "frequencies_per_cm": minimum.frequencies_per_cm,
                ENERGY_KEY: minimum.energy_ev,
            }
            minima.append(atoms)
        points = []
        for scan in self.scans:
            for point in scan.points:
                atoms = Atoms(scan.numbers, point.positions_a)
                atoms.info = {
                    "scan": scan.scan,
                    "coordinate": point.coordinate,
                    "origin": _ORIGIN,
                    ENERGY_KEY: point.energy_ev,
                }
                points.append(atoms)
        return {EQUILIBRIUM: _extxyz(minima), SCAN: _extxyz(points)}


def _extxyz(frames: list[Atoms]) -> str:
    stream = io.StringIO()
    write(stream, frames, format="extxyz")
    return stream.getvalue()
