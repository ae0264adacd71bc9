"""How smooth a quantity is along a path of evenly spaced points."""

from __future__ import annotations

from mlipilot.evaluation.lazily import Array, np


def roughness(values: Array) -> float:
    """Largest distance of an inner point from the cubic through its four neighbours, in the same unit."""
    return float(np.abs(np.diff(values, 4)).max()) / 6


def minima(falling: Array) -> tuple[int, int]:
    """How many minima an energy has inside of a path, and how many of the path's ends are one, too.

    `falling`: −dE/dx along the path, or what is of its sign, (points,). An exact zero is passed over.
    """
    signs = np.sign(falling[falling != 0])
    if not len(signs):
        return 0, 0
    inside = int(((signs[:-1] > 0) & (signs[1:] < 0)).sum())
    return inside, int(signs[0] < 0) + int(signs[-1] > 0)
