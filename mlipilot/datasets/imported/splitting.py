"""Whole groups of frames to splits: shares approached, every element in train, what cannot be had said."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mlipilot.datasets.imported.frame_files import Frame
from mlipilot.errors import InputError

SHARES = {"train": 0.7, "valid": 0.1, "test": 0.1, "sealed": 0.1}
LEAST_OF_SHARE = 0.5
"""Of a split's share; with less of it, train is refused, and the others are told."""
MOST_IN_TRAIN = 0.85
"""With more, formulas leave the other splits less than half of their shares."""
STRETCHES = 20
"""Into how many a set is cut when its formulas are too few, or too unequal, to be split."""


@dataclass(frozen=True)
class Split:
    """Which frames are in which split, and why."""

    by: str
    frames: list[Frame]
    """With the group that each is split by."""
    groups: dict[str, set[str]]
    """By split."""
    warnings: list[str] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """Frames, by split."""
        sizes = Counter(frame.group for frame in self.frames)
        return {split: sum(sizes[name] for name in names) for split, names in self.groups.items()}


def split_frames(frames: list[Frame], group_key: str | None, seed: int) -> Split:
    """By the group key; without one by formula or, where that is no good split, by stretches of formulas.

    Raises InputError when there are too few groups, or train would have less than half of its share.
    """
    if group_key is not None:
        return _split(frames, group_key, seed)
    try:
        by_formula = _split(frames, "chemical formula", seed)
    except InputError:
        by_formula = None  # stretches may do
    if by_formula is not None and by_formula.counts["train"] <= MOST_IN_TRAIN * len(frames):
        return by_formula
    size = -(-len(frames) // STRETCHES)
    return _split(_stretches(frames, size), f"stretches of {size} successive frames", seed, _leaks(size))


def _leaks(size: int) -> list[str]:
    if size == 1:
        what = (
            "stretches of one frame are a split by frame: where neighbours in the file resemble one another,"
        )
    else:
        what = "frames at the borders of stretches resemble their neighbours, which may be in another split:"
    return [f"{what} errors on valid, test and sealed come out too small; --group-key keeps them together"]


def _stretches(frames: Sequence[Frame], size: int) -> list[Frame]:
    """Formulas with more frames than the smallest share are cut: successive frames resemble one another."""
    of_formula = Counter(frame.group for frame in frames)
    seen: Counter[str] = Counter()
    cut = []
    for frame in frames:
        group = frame.group
        if of_formula[group] > min(SHARES.values()) * len(frames):
            group = f"{group}, stretch {seen[group] // size + 1}"
        seen[frame.group] += 1
        cut.append(Frame(frame.atoms, frame.place, group))
    return cut


def _split(frames: list[Frame], by: str, seed: int, warnings: Sequence[str] = ()) -> Split:
    elements: dict[str, set[str]] = defaultdict(set)
    for frame in frames:
        elements[frame.group].update(map(str, frame.atoms.symbols))
    groups = split_groups(Counter(frame.group for frame in frames), seed, elements)
    counts = Split(by, frames, groups).counts
    few = {split: n for split, n in counts.items() if n < LEAST_OF_SHARE * SHARES[split] * len(frames)}
    said = [
        f"by {by}, {split} has {n} of {len(frames)} frames, and its share is {SHARES[split]:.0%}"
        for split, n in few.items()
    ]
    if "train" in few:
        raise InputError(
            said[0], mend="give more frames, or a --group-key whose groups are more and more alike in size"
        )
    return Split(by, frames, groups, [*warnings, *said])


def split_groups(
    sizes: Counter[str], seed: int, elements: Mapping[str, set[str]] | None = None
) -> dict[str, set[str]]:
    """Whole groups to splits: what train needs for its elements, then the largest first.

    Each goes where it leaves the least sum of (frames missing)²/share, as Webster shares out the seats of a
    parliament. Every split gets a group; among groups of one size the seed decides. Raises InputError when
    there are too few groups for that.
    """
    if len(sizes) < len(SHARES):
        raise InputError(
            f"{len(sizes)} group(s) cannot be split into {', '.join(SHARES)}",
            mend=f"at least {len(SHARES)} groups are needed: give more frames or another --group-key",
        )
    shuffled = [str(name) for name in np.random.default_rng(seed).permutation(sorted(sizes))]
    order = sorted(shuffled, key=lambda name: -sizes[name])
    needed = _carriers(order, elements or {})
    rest = [name for name in order if name not in needed]
    if len(rest) < len(SHARES) - 1:
        listed = ", ".join(f"{name} for its {element}" for name, element in needed.items())
        raise InputError(
            f"train must have every element and needs the groups {listed}; of {len(sizes)} groups "
            f"{len(rest)} are left for {', '.join(list(SHARES)[1:])}",
            mend="give more groups with these elements, leave these groups out, or give another --group-key",
        )
    splits: dict[str, set[str]] = {split: set() for split in SHARES}
    splits["train"].update(needed)
    filled = {split: sum(sizes[name] for name in names) for split, names in splits.items()}
    for index, name in enumerate(rest):
        empty = [split for split, names in splits.items() if not names]
        open_to = empty if len(empty) >= len(rest) - index else list(SHARES)
        split = min(open_to, key=lambda split: (filled[split] + sizes[name] / 2) / SHARES[split])
        splits[split].add(name)
        filled[split] += sizes[name]
    return splits


def _carriers(order: Sequence[str], elements: Mapping[str, set[str]]) -> dict[str, str]:
    """A few groups that together have every element, each with the element that it was taken for.

    The rarest element first, as it leaves least choice, and of its groups the one that adds most others.
    """
    groups_with = Counter(element for name in order for element in elements.get(name, ()))
    missing = set(groups_with)
    found: dict[str, str] = {}
    while missing:
        element = min(sorted(missing), key=lambda element: groups_with[element])
        carriers = [name for name in order if element in elements[name]]
        best = max(carriers, key=lambda name: len(elements[name] & missing))
        found[best] = element
        missing -= elements[best]
    return found
