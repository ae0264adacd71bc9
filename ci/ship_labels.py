"""Make the labels that are shipped: `reference` computes the reference molecules, `pack` seals both.

    mlipilot data build qm7_b3lyp --seed 2402 --set source=embedded --set unseen_share=0.35 \\
        --set 'temperatures_k=[300, 1000, 3000]' --set rattle_sigma_a=0.08 \\
        --set 'molecules=[water, …]' --output build/shipped
    python ci/ship_labels.py reference build/reference.json
    python ci/ship_labels.py pack build/shipped.labels build/reference.json
"""

from __future__ import annotations

import argparse
import json
import lzma
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.optimize import BFGS

from mlipilot.audit.files import write_atomic, write_json
from mlipilot.audit.manifest import MANIFEST, write_manifest
from mlipilot.datasets.base import PROVENANCE
from mlipilot.datasets.qm7_b3lyp import embedded, shipped
from mlipilot.datasets.qm7_b3lyp.property_files import Minimum, Point, Reference, Scan
from mlipilot.datasets.qm7_b3lyp.work import read_frames, read_plan
from mlipilot_labels.geometries import NormalModes, hessian_ev_per_a2
from mlipilot_labels.label import Neighbours, label_geometry
from mlipilot_labels.method import method_record
from mlipilot_labels.records import Geometry, Molecule, rows, to_lines

MINIMA = ["water", "ammonia", "formaldehyde", "methanol", "hydrogen_peroxide"]
TORSION_DEG = [15.0 * step for step in range(13)]
STRETCH_A = [round(0.85 + 0.05 * step, 2) for step in range(13)]


class Labels(Calculator):  # type: ignore[misc]  # ASE is untyped
    """The labels of one molecule as an ASE calculator."""

    implemented_properties = ("energy", "forces")

    def __init__(self, source: Molecule) -> None:
        super().__init__()
        self.source, self.neighbours = source, Neighbours()

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
        """Energy (eV) and forces (eV/Å)."""
        super().calculate(atoms, properties, system_changes)
        places = [tuple(map(float, place)) for place in self.atoms.positions]
        geometry = Geometry.model_validate({"kind": "rattled", "positions_a": places})
        frame = label_geometry(self.source, 0, geometry, self.neighbours)
        assert frame.usable, self.source.name
        self.results = {"energy": frame.energy_ev, "forces": np.array(frame.forces_ev_per_a)}


def minimum(source: Molecule) -> tuple[Atoms, Minimum]:
    """The B3LYP minimum and its harmonic frequencies."""
    atoms = Atoms(source.numbers, source.positions_a, calculator=Labels(source))
    assert BFGS(atoms, logfile=None).run(fmax=0.001, steps=100), source.name
    energy = atoms.get_potential_energy()
    modes = NormalModes(atoms.numbers, atoms.positions, hessian_ev_per_a2(atoms))
    found = Minimum(
        molecule=source.name,
        numbers=source.numbers,
        positions_a=rows(atoms.positions),
        energy_ev=energy,
        frequencies_per_cm=[round(float(value), 1) for value in modes.per_cm],
    )
    print(found.molecule, found.energy_ev, found.frequencies_per_cm, flush=True)
    return atoms, found


def scan(atoms: Atoms, name: str, frames: list[tuple[float, Atoms]]) -> Scan:
    """Energies along a rigid path."""
    points = []
    for value, frame in frames:
        frame.calc = atoms.calc
        energy = frame.get_potential_energy()
        points.append(Point(coordinate=value, positions_a=rows(frame.positions), energy_ev=energy))
    print(name, [round(1000 * (point.energy_ev - points[0].energy_ev)) for point in points], flush=True)
    return Scan(scan=name, numbers=atoms.numbers.tolist(), points=points)


def torsion(atoms: Atoms) -> list[tuple[float, Atoms]]:
    """Hydrogen peroxide turned about its O–O bond; atoms are O O H H."""
    first, second = _hydrogens_of(atoms)
    made = []
    for angle in TORSION_DEG:
        frame = atoms.copy()
        frame.set_dihedral(first, 0, 1, second, angle, indices=[second])
        made.append((angle, frame))
    return made


def stretch(atoms: Atoms) -> list[tuple[float, Atoms]]:
    """One O–H bond of water, the other atoms still."""
    made = []
    for length in STRETCH_A:
        frame = atoms.copy()
        frame.set_distance(0, 1, length, fix=0, indices=[1])
        made.append((length, frame))
    return made


def _hydrogens_of(atoms: Atoms) -> tuple[int, int]:
    by_first = sorted((2, 3), key=lambda hydrogen: atoms.get_distance(0, hydrogen))
    return by_first[0], by_first[1]


def reference(path: Path) -> None:
    """Minima, frequencies and two scans."""
    sources = {source.name: source for source in embedded.molecules(set(MINIMA))}
    found = {name: minimum(sources[name]) for name in MINIMA}
    peroxide, water = found["hydrogen_peroxide"][0], found["water"][0]
    made = Reference(
        method=method_record(),
        minima=[each for _, each in found.values()],
        scans=[
            scan(peroxide, "H-O-O-H torsion of hydrogen peroxide, degrees", torsion(peroxide)),
            scan(water, "O-H stretch of water, Angstrom", stretch(water)),
        ],
    )
    write_json(path, made.model_dump(mode="json"))


def pack(work: Path, reference_path: Path) -> None:
    """Seal the labels of a finished work directory, and the reference, into the package."""
    plan = read_plan(work)
    frames = read_frames(work, plan)
    shipped.FOLDER.mkdir(exist_ok=True)
    packed = lzma.compress(to_lines(frames).encode(), preset=9 | lzma.PRESET_EXTREME)
    write_atomic(shipped.FOLDER / shipped.FRAMES, packed)
    write_atomic(shipped.FOLDER / shipped.REFERENCE, reference_path.read_bytes())
    spent = sum(float(frame.label.get("cpu_seconds", 0)) for frame in frames)
    write_json(
        shipped.FOLDER / PROVENANCE,
        {
            "options": plan.options,
            "method": method_record(),
            "made_by": "ci/ship_labels.py",
            "cpu_seconds": round(spent),
            "molecules_are": "a selection of our own that stands in for QM7",
        },
    )
    (shipped.FOLDER / MANIFEST).unlink(missing_ok=True)
    write_manifest(shipped.FOLDER)
    sizes = {path.name: path.stat().st_size for path in sorted(shipped.FOLDER.iterdir())}
    print(json.dumps({"frames": len(frames), "cpu_seconds": round(spent), "bytes": sizes}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=["reference", "pack"])
    parser.add_argument("paths", nargs="+", type=Path)
    options = parser.parse_args()
    if options.verb == "reference":
        reference(options.paths[0])
    else:
        pack(*options.paths)


if __name__ == "__main__":
    main()
