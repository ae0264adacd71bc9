"""How smoothly each bond is stretched: extra minima of the energy (no unit), roughness of the force (eV/Å).

Each bond of each reference molecule is given lengths from 0.8 to 1.3 of its equilibrium's, in steps of 0.02
of it; what hangs on either end moves with it, rigid. Of a bond in a ring only its two atoms move. Force:
−dE/dr along that path, from the model's forces. No reference calculation is needed: a bond has one minimum in
this range, and a force without kinks.

Extra minima: how many minima the energy has beside one inside of the range, an end from which it rises
counted as one; a lacking one counts, too. The worst bond's. The bound is 0: with more, dynamics may be caught
at a wrong length, or a bond collapse. Roughness: the largest distance of the force at a point from the cubic
through its four neighbours, of the roughest bond; the steps alone give an O–H bond of Morse 0.0003 eV/Å. A
larger one is noise that heats constant-energy dynamics. The idea is that of the diatomics of MLIP Arena
(Chiang et al., 2025), which count turns of force and energy, here for bonds within molecules.
Cost: 26 predictions for each bond, in batches: a second for three small molecules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pydantic import Field

from mlipilot.evaluation.declaration import MOLECULES, Group, Metric, Section, Settings
from mlipilot.evaluation.lazily import Array, Atoms, Bench, np
from mlipilot.evaluation.metrics_file import Measurement, MeasurementError
from mlipilot.evaluation.smoothness import roughness, wells_of_force
from mlipilot.evaluation.watched_molecules import has_bonds

if TYPE_CHECKING:
    from mlipilot.evaluation.bonds import Pairs
    from mlipilot.evaluation.reference_molecules import Molecule


class BondStretchSettings(Settings):
    """Every bond of each reference molecule between two lengths, over that at its equilibrium."""

    shortest: float = Field(default=0.8, ge=0.3, lt=1)
    longest: float = Field(default=1.3, gt=1, le=3)
    points: int = Field(default=26, ge=7, le=1001)


class Stretch(NamedTuple):
    """The path of one bond."""

    name: str
    lengths_a: Array
    """(points,)"""
    frames: list[Atoms]
    moves: Array
    """How far each atom moves where the bond grows by one, (atoms, 3)."""


def stretches(molecule: Molecule, factors: Array) -> list[Stretch]:
    """Every bond of a molecule, with lengths of `factors` times its equilibrium's."""
    from mlipilot.evaluation.bonds import bonds, lengths_a

    atoms = molecule.atoms
    pairs = bonds(atoms)
    found = []
    for bond, length_a in enumerate(lengths_a(atoms.positions, pairs)):
        moves = directions(atoms, pairs, bond)
        name = f"{molecule.name}, bond of atoms {pairs[bond, 0]} and {pairs[bond, 1]}"
        frames = [_moved(atoms, (factor - 1) * length_a * moves) for factor in factors]
        found.append(Stretch(name, factors * length_a, frames, moves))
    return found


def directions(atoms: Atoms, pairs: Pairs, bond: int) -> Array:
    """How far each atom moves where a bond grows by one, (atoms, 3): its two sides apart, a half each."""
    from mlipilot.evaluation.bonds import side_of

    first, second = pairs[bond]
    along = atoms.positions[second] - atoms.positions[first]
    along /= np.linalg.norm(along)
    moves = np.zeros((len(atoms), 3))
    moves[side_of(pairs, bond, len(atoms))] = along / 2
    moves[side_of(pairs[:, ::-1], bond, len(atoms))] = -along / 2
    return moves


def measure(bench: Bench) -> Measurement:
    """Both numbers, of the worst bond; the force over the length of each bond as curves.

    Raises MeasurementError when a force is not finite.
    """
    settings = bench.settings.section(BondStretchSettings)
    factors = np.linspace(settings.shortest, settings.longest, settings.points)
    paths = [path for molecule in bench.molecules for path in stretches(molecule, factors)]
    found = iter(bench.predict([frame for path in paths for frame in path.frames]))
    forces: list[Array] = []
    curves: dict[str, Array] = {}
    for index, path in enumerate(paths):
        by_atom = np.array([next(found).forces_ev_per_a for _ in factors])
        if not np.isfinite(by_atom).all():
            raise MeasurementError(f"{path.name}: a force is not a finite number")
        force = (by_atom * path.moves).sum(axis=(1, 2))
        forces.append(force)
        curves |= {f"bond_{index}_length_a": path.lengths_a, f"bond_{index}_force_ev_per_a": force}
    return Measurement(
        {
            "bond_stretch_extra_minima": float(max(map(extra_minima, forces))),
            "bond_stretch_force_roughness_ev_per_a": max(map(roughness, forces)),
        },
        curves=curves,
    )


def extra_minima(force: Array) -> int:
    """Minima beside the one inside that a bond has, ends included, a lacking one counted as well."""
    inside, at_ends = wells_of_force(force)
    return abs(inside - 1) + at_ends


def _moved(atoms: Atoms, by_a: Array) -> Atoms:
    copy: Atoms = atoms.copy()
    copy.positions += by_a
    return copy


GROUP = Group(
    name="bond stretch",
    place=157,
    metrics=(
        Metric(
            "bond_stretch_extra_minima",
            "1",
            "lower",
            "extra minima along a bond's stretch",
            MOLECULES,
            has_bonds,
        ),
        Metric(
            "bond_stretch_force_roughness_ev_per_a",
            "eV/Å",
            "lower",
            "roughness of the force along a bond's stretch",
            MOLECULES,
            has_bonds,
        ),
    ),
    measure=measure,
    sections=(Section("bond_stretch", BondStretchSettings, MOLECULES),),
    source="Chiang et al., MLIP Arena, arXiv:2509.20630 (2025)",
    exam=True,
)
