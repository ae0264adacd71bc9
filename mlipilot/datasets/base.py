"""What all data sets share: groups of frames, fair rounding of shares, the check that groups do not leak."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mlipilot.errors import CheckFailedError

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
