"""Frames of a user into a sealed data set: checked, split by group, with what was found in its provenance."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.io import write

from mlipilot.audit.files import sha256_file, write_json
from mlipilot.audit.manifest import write_manifest
from mlipilot.datasets.imported.checks import Consistency, check_consistency, doubles, outliers
from mlipilot.datasets.imported.reading import Frame, Labels, read_frames
from mlipilot.errors import InputError

FORMAT = "mlipilot-data/1"
FILES = {
    "train": "train/train.xyz",
    "valid": "train/valid.xyz",
    "test": "test/test.xyz",
    "sealed": "sealed/sealed.xyz",
}
SHARES = {"train": 0.7, "valid": 0.1, "test": 0.1, "sealed": 0.1}
BLOCKS = 20
"""Into how many stretches a file is cut when its frames are of too few groups."""
SAME_ENERGY_EV_PER_ATOM = 1e-3


@dataclass(frozen=True)
class Import:
    """What an import found, for the user and for the provenance."""

    frames: dict[str, int]
    """By split."""
    groups: dict[str, list[str]]
    """By split."""
    split_by: str
    doubles: list[str]
    """Left out: a geometry that an earlier frame has."""
    outliers: list[str]
    outliers_left_out: bool
    consistency: Consistency
    elements: list[str]
    isolated_atom_ev: dict[str, float]
    """From frames of one atom, which are in no split."""
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
    if out_dir.exists():
        raise InputError("the directory exists", file=out_dir, mend="remove it or name another")
    frames = list(read_frames(files, labels))
    atoms = {f.atoms.symbols[0]: f.energy_ev for f in frames if len(f.atoms) == 1}
    frames = [frame for frame in frames if len(frame.atoms) > 1]
    twice = doubles(frames)
    _check_doubles(frames, twice)
    later = {index for _, index in twice}
    kept = [frame for index, frame in enumerate(frames) if index not in later]
    if not kept:
        raise InputError("no frame has more than one atom", file=files[0])
    consistency = check_consistency(kept, labels)
    far = outliers(kept)
    said = [f"{kept[index].place}: {why}" for index, why in far.items()]
    if drop_outliers:
        kept = [frame for index, frame in enumerate(kept) if index not in far]
    split_by, kept = _grouped(kept, labels)
    splits = split_groups(Counter(frame.group for frame in kept), seed)
    found = Import(
        frames={split: sum(frame.group in names for frame in kept) for split, names in splits.items()},
        groups={split: sorted(names) for split, names in splits.items()},
        split_by=split_by,
        doubles=[f"{frames[b].place}: as {frames[a].place}" for a, b in twice],
        outliers=said,
        outliers_left_out=drop_outliers,
        consistency=consistency,
        elements=sorted({str(symbol) for frame in kept for symbol in frame.atoms.symbols}),
        isolated_atom_ev={symbol: atoms[symbol] for symbol in sorted(atoms)},
        periodic=all(frame.atoms.pbc.all() for frame in kept),
        stresses=labels.stress is not None,
    )
    _write(kept, splits, found, labels, files, name, seed, out_dir)
    return found


def _check_doubles(frames: Sequence[Frame], twice: Sequence[tuple[int, int]]) -> None:
    for a, b in twice:
        difference = abs(frames[a].energy_ev - frames[b].energy_ev) / len(frames[a].atoms)
        if difference > SAME_ENERGY_EV_PER_ATOM:
            raise InputError(
                f"{frames[b].place} has the geometry of {frames[a].place} with an energy "
                f"{1000 * difference:.3g} meV/atom apart",
                mend="labels of one method are expected: leave one of the two out",
            )


def _grouped(frames: list[Frame], labels: Labels) -> tuple[str, list[Frame]]:
    """The frames with the groups that they are split by, and what those are."""
    groups = {frame.group for frame in frames}
    if labels.group is not None:
        return labels.group, frames
    if len(groups) >= len(FILES):
        return "chemical formula", frames
    # One composition: successive frames resemble one another, so whole stretches share a split.
    size = -(-len(frames) // BLOCKS)
    stretches = [
        Frame(frame.atoms, frame.place, f"stretch {index // size + 1}") for index, frame in enumerate(frames)
    ]
    return f"stretches of {size} successive frames", stretches


def split_groups(sizes: Counter[str], seed: int) -> dict[str, set[str]]:
    """Whole groups to splits, in random order, each to the split that lacks most of its share of frames.

    Every split gets a group. Raises InputError when there are fewer groups than splits.
    """
    if len(sizes) < len(SHARES):
        raise InputError(
            f"{len(sizes)} group(s) cannot be split into {', '.join(SHARES)}",
            mend=f"at least {len(SHARES)} groups are needed: give more frames or another --group-key",
        )
    total = sum(sizes.values())
    order = [str(name) for name in np.random.default_rng(seed).permutation(sorted(sizes))]
    splits: dict[str, set[str]] = {split: set() for split in SHARES}
    filled = dict.fromkeys(SHARES, 0)
    for index, name in enumerate(order):
        left = len(order) - index
        empty = [split for split, names in splits.items() if not names]
        open_to = empty if len(empty) >= left else list(SHARES)
        split = max(open_to, key=lambda split: SHARES[split] * total - filled[split])
        splits[split].add(name)
        filled[split] += sizes[name]
    return splits


def _write(
    frames: Sequence[Frame],
    splits: dict[str, set[str]],
    found: Import,
    labels: Labels,
    files: Sequence[Path],
    name: str,
    seed: int,
    out_dir: Path,
) -> None:
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=out_dir.parent, prefix=f".{out_dir.name}."))
    try:
        for split, path in FILES.items():
            (temporary / path).parent.mkdir(exist_ok=True)
            structures = [_with_group(frame) for frame in frames if frame.group in splits[split]]
            write(temporary / path, structures, format="extxyz")
        provenance: dict[str, Any] = {
            "format": FORMAT,
            "dataset": "imported",
            "name": name,
            "labels": asdict(labels),
            "versions": {"ase": ase.__version__, "numpy": np.__version__},
            "seed": seed,
            "sources": {file.name: sha256_file(file) for file in files},
            "found": asdict(found),
            "splits": {
                split: {"file": path, "sha256": sha256_file(temporary / path), "frames": found.frames[split]}
                for split, path in FILES.items()
            },
        }
        write_json(temporary / "provenance.json", provenance)
        write_manifest(temporary)
        temporary.chmod(0o755)
        temporary.rename(out_dir)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _with_group(frame: Frame) -> ase.Atoms:
    atoms = frame.atoms.copy()
    atoms.info["group"] = frame.group
    return atoms
