"""What is written down of a molecule, a geometry and its label. Lengths in Å, energies in eV."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
from pydantic import BaseModel

from mlipilot.errors import InputError

Kind = Literal["equilibrium", "normal_mode", "rattled", "isolated_atom"]
Scalar = str | int | float | bool
DECIMALS = 6  # of Å, eV and eV/Å: a hundredth of what density fitting changes


class Molecule(BaseModel, extra="forbid", frozen=True):
    """A molecule before sampling."""

    name: str
    origin: str
    """Where the geometry comes from, in words."""
    numbers: list[int]
    positions_a: list[tuple[float, float, float]]
    relax: bool
    """Whether the geometry is a force field's and is relaxed by GFN2-xTB before anything else."""
    unpaired_electrons: int | None = None
    """None: 0 or 1, by electron count."""


class Geometry(BaseModel, extra="forbid", frozen=True):
    """One geometry to label, and how it was drawn. `positions_a` is None where every draw was refused."""

    kind: Kind
    positions_a: list[tuple[float, float, float]] | None
    sampling: dict[str, Scalar] = {}


class Frame(BaseModel, extra="forbid", frozen=True):
    """A geometry with its label, or with why it has none."""

    molecule: str
    index: int
    origin: str
    kind: Kind
    numbers: list[int]
    positions_a: list[tuple[float, float, float]] | None = None
    sampling: dict[str, Scalar]
    energy_ev: float | None = None
    forces_ev_per_a: list[tuple[float, float, float]] | None = None
    label: dict[str, Scalar]
    """`outcome` is the rung of the ladder that converged, `not_converged`, `no_geometry`, or `failed` with a
    `reason`; the method, the versions, the size of the net force that was taken off and the seconds that it
    took."""

    @property
    def usable(self) -> bool:
        """Whether it has a label."""
        return self.energy_ev is not None and self.forces_ev_per_a is not None

    @property
    def words(self) -> str:
        """Which frame, and what became of it."""
        reason = f" ({self.label['reason']})" if "reason" in self.label else ""
        return f"{self.molecule} {self.index}: {self.label['outcome']}{reason}"


class NoGeometryError(InputError):
    """A molecule that no geometry can be made of, through no fault of the others'."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name} {reason}", mend="leave it out")
        self.reason = reason


def without_geometry(source: Molecule, reason: str) -> Frame:
    """What is kept of such a molecule: counted and reported, never used."""
    return Frame(
        molecule=source.name,
        index=0,
        origin=source.origin,
        kind="equilibrium",
        numbers=source.numbers,
        positions_a=None,
        sampling={},
        label={"outcome": "failed", "reason": reason},
    )


def rows(array: np.ndarray) -> list[tuple[float, float, float]]:
    """(n, 3) as it is written: rounded, without a minus before zero."""
    return [(float(x), float(y), float(z)) for x, y, z in np.round(array, DECIMALS) + 0.0]


def to_lines(frames: Iterable[Frame]) -> str:
    """One JSON object a line."""
    return "".join(frame.model_dump_json(exclude_none=True) + "\n" for frame in frames)


def from_lines(text: str) -> list[Frame]:
    """The frames of `to_lines`. Raises pydantic's ValidationError, a ValueError, for what is none."""
    return [Frame.model_validate_json(line) for line in text.splitlines()]
