"""What all data sets share: names in files, how a directory appears, and groups that do not leak."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from mlipilot.audit.files import beside, sha256_file, write_json
from mlipilot.audit.manifest import MANIFEST, check_manifest, is_finished, write_manifest
from mlipilot.errors import CheckFailedError, InputError

if TYPE_CHECKING:
    from ase import Atoms

PROVENANCE, FORMAT = "provenance.json", "mlipilot-data/1"
"""What a data set says of itself, and the form in which it does."""
ENERGY_KEY, FORCES_KEY, STRESS_KEY = "REF_energy", "REF_forces", "REF_stress"
"""eV, eV/Å and eV/Å³ in extended XYZ: MACE's names, which no reader moves."""
DECIMALS = 8
"""Of every number in a file: a fixed format gives the same bytes on every run."""

_ANOTHER = "name another directory with --output, or remove this one"
_PLACES = {"path", "qm7"}  # options: where a file lies is no part of what is made of it; its digest is

Progress = Callable[[int, int, str], None]  # done, total, what


@dataclass(frozen=True)
class Group:
    """Frames that resemble each other: one trajectory or one supercell family, whole in one split."""

    split: str
    kind: str
    name: str
    frames: int
    temperature_k: int = 0


def share(total: int, shares: Mapping[str, float]) -> dict[str, int]:
    """`total` divided by `shares` (summing to 1) into whole numbers; the largest remainders get the rest."""
    exact = {name: total * part for name, part in shares.items()}
    counts = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: counts[name] - exact[name])
    for name in by_remainder[: total - sum(counts.values())]:
        counts[name] += 1
    return counts


def check_groups(groups: Sequence[Group]) -> None:
    """Raises CheckFailedError when a group, or an MD temperature, is in two splits."""
    split_of: dict[str, str] = {}
    for group in groups:
        keys = [group.name] + ([f"MD at {group.temperature_k} K"] if group.temperature_k else [])
        for key in keys:
            if split_of.setdefault(key, group.split) != group.split:
                raise CheckFailedError(f"{key} is in two splits: {split_of[key]} and {group.split}")


def salted(salt: int | None) -> list[int]:
    """What the seed of a generator goes on with for frames that judge."""
    return [] if salt is None else [salt]


def check_new(out_dir: Path) -> None:
    """Raises InputError if `out_dir` exists: ask before long work, too."""
    if out_dir.exists():
        raise InputError("the directory exists", file=out_dir, mend="remove it or name another")


def check_sealed(directory: Path) -> None:
    """Raises InputError unless an imported data set is there, as it was sealed."""
    if not is_finished(directory):
        mend = "`mlipilot data import` makes one"
        raise InputError("there is no sealed data set", file=directory, mend=mend)
    if problems := check_manifest(directory):
        raise InputError(f"the data set is not as it was sealed: {problems[0]}", mend="import it again")


def read_provenance(directory: Path) -> dict[str, Any]:
    """What a data set says of itself. Raises InputError where it says nothing."""
    path = directory / PROVENANCE
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        raise InputError("there is no provenance of a data set", file=path, mend=_ANOTHER) from None


def check_same(directory: Path, dataset: str, options: BaseModel) -> None:
    """Raises InputError unless the finished data set in `directory` is the one that these options make."""
    provenance = read_provenance(directory)
    differ = differing({"dataset": provenance.get("dataset")}, {"dataset": dataset})
    if not differ:
        # of an imported set the options name the manifest
        there = {"manifest_sha256": sha256_file(directory / MANIFEST)} | provenance.get("options", {})
        differ = differing(there, options.model_dump(mode="json"))
    if differ:
        raise InputError(
            f"the data set there is another one: {in_words(differ)}", file=directory, mend=_ANOTHER
        )


def differing(there: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The options that are not as asked for, each with the value there and the one asked for."""
    return {
        key: (there.get(key), asked[key])
        for key in sorted(asked)
        if key not in _PLACES and there.get(key) != asked[key]
    }


def in_words(differ: Mapping[str, tuple[Any, Any]]) -> str:
    """Such as "seed is 1 there, 2 is asked for"."""
    return "; ".join(
        f"{key} is {json.dumps(there)} there, {json.dumps(asked)} is asked for"
        for key, (there, asked) in differ.items()
    )


def seal_splits(
    directory: Path,
    files: Mapping[str, str],
    splits: Mapping[str, Sequence[Atoms]],
    said: Mapping[str, Any],
    said_of: Mapping[str, Mapping[str, Any]],
) -> None:
    """Write each split that has structures to its file, what is said of them and of it, then the manifest."""
    from ase.io import write  # a second, which reading a campaign need not cost

    told = {}
    for split, name in files.items():
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        if splits[split]:
            write(path, splits[split], format="extxyz")
            about = {"file": name, "sha256": sha256_file(path), "frames": len(splits[split])}
            told[split] = about | dict(said_of.get(split, {}))
    write_json(directory / PROVENANCE, {"format": FORMAT, **said, "splits": told})
    write_manifest(directory)


@contextmanager
def appearing(out_dir: Path) -> Iterator[Path]:
    """A directory to fill that becomes `out_dir` when the block ends, and is gone when it raises.

    Raises InputError if `out_dir` exists, also when it has appeared meanwhile.
    """
    check_new(out_dir)
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    temporary = beside(out_dir)
    temporary.mkdir()
    try:
        yield temporary
        try:
            temporary.rename(out_dir)
        except OSError:
            check_new(out_dir)  # another builder was quicker
            raise
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
