"""Frames become a data set: divided by molecule and by geometry, written as extended XYZ that MACE reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from mlipilot.audit.files import write_atomic
from mlipilot.datasets.base import ENERGY_KEY, FORCES_KEY, salted, seal_splits, share
from mlipilot.errors import CheckFailedError, InputError
from mlipilot_labels.records import Frame, to_lines

FILES = {
    "train": "train/train.xyz",
    "isolated_atoms": "train/isolated_atoms.xyz",
    "valid": "train/valid.xyz",
    "test": "test/test.xyz",
    "test_unseen": "test/test_unseen.xyz",
    "sealed": "sealed/sealed.xyz",
    "sealed_unseen": "sealed/sealed_unseen.xyz",
}
# Of the geometries of a trained molecule. Its minimum is always trained on.
_SHARES = {"train": 0.6, "valid": 0.12, "test": 0.16, "sealed": 0.12}
_MOST_STRAINED = 2  # of a molecule; where one alone was taught, what came next decided a split's errors
_NEEDED = ("train", "valid", "test")  # by every campaign
_MEND = "more geometries (temperatures_k, normal_mode, rattled), more molecules, or a smaller unseen_share"


def check_divisible(molecules: int, geometries: int, unseen_share: float) -> None:
    """Raises InputError where a split that campaigns need would be empty. Asked before hours of labelling.

    `geometries`: of each molecule, its minimum among them.
    """
    trained = molecules - round(unseen_share * molecules)
    counts = share(geometries - 1, _SHARES) | {"train": 1}  # the minimum
    empty = [split for split in _NEEDED if not trained or not counts[split]]
    if empty:
        raise InputError(
            f"{', '.join(empty)} would be empty: {trained} of {molecules} molecules are trained on, and "
            f"{geometries} geometries of each are to be divided",
            mend=f"{_MEND}; five geometries of one trained molecule are enough",
        )


@dataclass(frozen=True)
class Division:
    """How frames are divided: by a seed, and those of trained molecules by a salt as well."""

    seed: int
    unseen_share: float
    salt: int | None = None


def divide(frames: Sequence[Frame], division: Division) -> dict[str, list[Frame]]:
    """The splits. Whole molecules are unseen, half of them tested and half sealed.

    Of the other molecules, geometries are divided.
    """
    splits: dict[str, list[Frame]] = {split: [] for split in FILES}
    splits["isolated_atoms"] = [frame for frame in frames if frame.kind == "isolated_atom"]
    by_molecule: dict[str, list[Frame]] = {}
    for frame in sorted(frames, key=lambda frame: frame.index):
        if frame.kind != "isolated_atom":
            by_molecule.setdefault(frame.molecule, []).append(frame)
    rng = np.random.default_rng([division.seed, 2])
    names = [str(name) for name in rng.permutation(sorted(by_molecule))]
    unseen = round(division.unseen_share * len(names))
    if division.salt is not None:  # which molecules are unseen is public: bounds were calibrated with them
        rng = np.random.default_rng([division.seed, 2, *salted(division.salt)])
    for place, name in enumerate(names):
        of_molecule = by_molecule[name]
        if place < unseen:
            splits["sealed_unseen" if place % 2 else "test_unseen"] += of_molecule
            continue
        splits["train"] += [frame for frame in of_molecule if frame.kind == "equilibrium"]
        for split, drawn in _spread([f for f in of_molecule if f.kind != "equilibrium"], rng).items():
            splits[split] += drawn
    for of_split in splits.values():
        of_split.sort(key=lambda frame: (frame.molecule, frame.index))
    check_splits(splits)
    return splits


def _spread(frames: Sequence[Frame], rng: np.random.Generator) -> dict[str, list[Frame]]:
    """The geometries of one molecule by split, each of which gets gentle and strained ones.

    In the order of energy they are cut into as many stretches as a split gets, and one is drawn of each. The
    most strained are trained on: what judges lies below what was taught, however it is drawn.
    """
    ordered = sorted(frames, key=lambda frame: (frame.energy_ev or 0.0, frame.index))
    counts = share(len(ordered), _SHARES)
    judged = len(ordered) - min(_MOST_STRAINED, counts["train"])
    left, taught = ordered[:judged], ordered[judged:]
    found: dict[str, list[Frame]] = {}
    for split in ("test", "sealed", "valid"):
        stretches = np.array_split(np.arange(len(left)), counts[split]) if counts[split] else []
        places = {int(rng.choice(stretch)) for stretch in stretches}
        found[split] = [left[place] for place in sorted(places)]
        left = [frame for place, frame in enumerate(left) if place not in places]
    return found | {"train": taught + left}


def check_splits(splits: dict[str, list[Frame]]) -> None:
    """Raises CheckFailedError when a geometry is in two splits, or an unseen molecule is in another one."""
    place: dict[tuple[str, int], str] = {}
    home: dict[str, str] = {}
    for split, frames in splits.items():
        for frame in frames:
            if place.setdefault((frame.molecule, frame.index), split) != split:
                raise CheckFailedError(f"{frame.molecule} {frame.index} is in two splits")
            room = split if split.endswith("_unseen") else "seen"
            if home.setdefault(frame.molecule, room) != room:
                raise CheckFailedError(
                    f"{frame.molecule} is unseen, but also in {home[frame.molecule]} and {split}"
                )


def write_dataset(
    out_dir: Path,
    frames: Sequence[Frame],
    division: Division,
    provenance: dict[str, Any],
    other_files: dict[str, str],
) -> None:
    """Write and seal a data set in an empty directory. Frames without a label are counted, never used.

    Raises CheckFailedError when there is not one label, InputError when a split that campaigns need is empty.
    """
    usable = [frame for frame in frames if frame.usable]
    if not any(frame.kind != "isolated_atom" for frame in usable):
        raise CheckFailedError("not one geometry has a label")
    splits = divide(usable, division)
    if empty := [split for split in _NEEDED if not splits[split]]:
        raise InputError(
            f"{', '.join(empty)} would be empty: only {len(usable)} of {len(frames)} geometries have a label",
            mend=f"{_MEND}; what is labelled is kept",
        )
    for name, text in {"records.jsonl": to_lines(frames), **other_files}.items():
        (out_dir / name).parent.mkdir(exist_ok=True)
        write_atomic(out_dir / name, text)
    said = provenance | {
        "dataset": "qm7_b3lyp",
        "isolated_atoms_ev": {Atoms(f.numbers).symbols[0]: f.energy_ev for f in splits["isolated_atoms"]},
        "outcomes": Counter(str(frame.label["outcome"]) for frame in frames),
        "without_label": [frame.words for frame in frames if not frame.usable],
    }
    said_of = {
        split: {
            "kinds": Counter(frame.kind for frame in of_split),
            "molecules": sorted({frame.molecule for frame in of_split}),
        }
        for split, of_split in splits.items()
    }
    structures = {split: [to_atoms(frame) for frame in of_split] for split, of_split in splits.items()}
    seal_splits(out_dir, FILES, structures, said, said_of)


def to_atoms(frame: Frame) -> Atoms:
    """A frame under MACE's key names; its full record is in records.jsonl under its molecule and index."""
    atoms = Atoms(frame.numbers, frame.positions_a)
    atoms.info = {
        ENERGY_KEY: frame.energy_ev,
        # the name that MACE takes free atoms' energies from
        "config_type": "IsolatedAtom" if frame.kind == "isolated_atom" else frame.kind,
        "molecule": frame.molecule,
        "index": frame.index,
        "origin": frame.origin,
    }
    atoms.new_array(FORCES_KEY, np.array(frame.forces_ev_per_a, dtype=float).reshape(-1, 3))
    return atoms
