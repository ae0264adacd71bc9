"""Frames of a user into a sealed data set: checked, split by group, with what was found in its provenance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ase
import numpy as np

from mlipilot.audit.files import sha256_file
from mlipilot.datasets.base import appearing, check_new, seal_splits
from mlipilot.datasets.imported.frame_files import Frame, Labels, read_frames
from mlipilot.datasets.imported.label_checks import (
    Consistency,
    check_consistency,
    doubles,
    outliers,
    unverified,
)
from mlipilot.datasets.imported.splitting import Split, split_frames
from mlipilot.errors import InputError

FILES = {
    "train": "train/train.xyz",
    "valid": "train/valid.xyz",
    "test": "test/test.xyz",
    "sealed": "sealed/sealed.xyz",
}
SAME_ENERGY_EV_PER_ATOM = 1e-3
FREE_A = 8.0
"""How far an atom's periodic images are off at least, for it to count as free."""


@dataclass(frozen=True)
class Import:
    """What an import found, for the user and for the provenance."""

    frames: dict[str, int]
    """By split."""
    groups: dict[str, list[str]]
    """By split."""
    split_by: str
    warnings: list[str]
    """What the user must know before relying on the set."""
    doubles: list[str]
    """Left out: a geometry that an earlier frame has."""
    outliers: list[str]
    outliers_left_out: bool
    consistency: Consistency
    elements: list[str]
    isolated_atom_ev: dict[str, float]
    """From frames of a free atom, which are in no split."""
    periodic: bool
    """Whether every frame is periodic in all directions."""
    stresses: bool


def import_files(
    files: Sequence[Path], labels: Labels, name: str, out_dir: Path, seed: int, drop_outliers: bool
) -> Import:
    """Read, check and split `files` into `out_dir` and seal it; all of it appears at once, or nothing.

    Raises InputError for a label that is missing or cannot be right, for frames that contradict one another,
    for too few groups to split and for an `out_dir` that exists.
    """
    check_new(out_dir)
    frames = list(read_frames(files, labels))
    atoms = _free_atoms(frames)
    frames = [frame for frame in frames if not is_free_atom(frame.atoms)]
    twice = doubles(frames)
    for a, b in twice:
        _check_same_energy(frames[a], frames[b], "has the geometry of")
    later = {index for _, index in twice}
    kept = [frame for index, frame in enumerate(frames) if index not in later]
    if not kept:
        raise InputError("there are free atoms only", file=files[0], mend="give structures to learn from")
    consistency = check_consistency(kept, labels)
    far = outliers(kept)
    said = [f"{kept[index].place}: {why}" for index, why in far.items()]
    if drop_outliers:
        kept = [frame for index, frame in enumerate(kept) if index not in far]
    split = split_frames(kept, labels.group, seed)
    found = Import(
        frames=split.counts,
        groups={name: sorted(groups) for name, groups in split.groups.items()},
        split_by=split.by,
        warnings=[*unverified(consistency), *split.warnings],
        doubles=[f"{frames[b].place}: as {frames[a].place}" for a, b in twice],
        outliers=said,
        outliers_left_out=drop_outliers,
        consistency=consistency,
        elements=sorted({str(symbol) for frame in kept for symbol in frame.atoms.symbols}),
        isolated_atom_ev={symbol: atoms[symbol] for symbol in sorted(atoms)},
        periodic=all(frame.atoms.pbc.all() for frame in kept),
        stresses=labels.stress is not None,
    )
    _write(split, found, labels, files, name, seed, out_dir)
    return found


def is_free_atom(atoms: ase.Atoms) -> bool:
    """One atom, and no image of it nearer than `FREE_A`: a primitive cell of a crystal is none."""
    periods = atoms.cell.lengths()[atoms.pbc]
    return len(atoms) == 1 and (len(periods) == 0 or bool(periods.min() >= FREE_A))


def _free_atoms(frames: Sequence[Frame]) -> dict[str, float]:
    """The energy (eV) of each element's free atom. Raises InputError when two frames disagree."""
    found: dict[str, Frame] = {}
    for frame in frames:
        if is_free_atom(frame.atoms):
            first = found.setdefault(str(frame.atoms.symbols[0]), frame)
            _check_same_energy(first, frame, "is a free atom like")
    return {symbol: frame.energy_ev for symbol, frame in found.items()}


def _check_same_energy(first: Frame, second: Frame, how: str) -> None:
    difference = abs(first.energy_ev - second.energy_ev) / len(first.atoms)
    if difference > SAME_ENERGY_EV_PER_ATOM:
        raise InputError(
            f"{second.place} {how} {first.place} with an energy {1000 * difference:.3g} meV/atom apart",
            mend="labels of one method are expected: leave one of the two out",
        )


def _write(
    split: Split, found: Import, labels: Labels, files: Sequence[Path], name: str, seed: int, out_dir: Path
) -> None:
    splits = {
        part: [_with_group(frame) for frame in split.frames if frame.group in split.groups[part]]
        for part in FILES
    }
    said: dict[str, Any] = {
        "dataset": "imported",
        "name": name,
        "labels": asdict(labels),
        "versions": {"ase": ase.__version__, "numpy": np.__version__},
        "seed": seed,
        "sources": {str(file): sha256_file(file) for file in files},
        "found": asdict(found),
    }
    with appearing(out_dir) as directory:
        seal_splits(directory, FILES, splits, said, {})


def _with_group(frame: Frame) -> ase.Atoms:
    atoms = frame.atoms.copy()
    atoms.info["group"] = frame.group
    return atoms
