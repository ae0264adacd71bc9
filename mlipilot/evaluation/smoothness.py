"""How smooth something is along a path of points: wells, the way up and down, and roughness.

Wells that are too many and the way up and down are told of the curves of diatomics and of energy over volume
in MLIP Arena, too (Chiang et al., arXiv:2509.20630), as turns of the energy and its tortuosity.
"""

from __future__ import annotations

from typing import NamedTuple

from mlipilot.evaluation.lazily import Array, np
from mlipilot.evaluation.metrics_file import MeasurementError


class Wells(NamedTuple):
    """Minima along a path."""

    inside: int
    at_ends: int
    """Ends from which it rises: the path ends before their bottom."""


def finite(energies: Array, what: str) -> Array:
    """The energies as they are. Raises MeasurementError naming `what` where one is not a finite number."""
    if not np.isfinite(energies).all():
        raise MeasurementError(f"an energy of {what} is not a finite number")
    return energies


def wells(energies: Array, depth: float = 0.0) -> Wells:
    """Those of finite energies (points,) that are at least `depth` deep, in the same unit.

    Equal neighbours are one point; a curve that is flat all over has no well without a depth, and one of any.
    """
    from scipy.signal import find_peaks

    walls = np.array([energies.max() + 2 * depth])
    walled = np.concatenate([walls, energies, walls])
    _, found = find_peaks(-walled, prominence=depth, plateau_size=1)
    at_ends = (found["left_edges"] == 1) | (found["right_edges"] == len(energies))
    return Wells(int((~at_ends).sum()), int(at_ends.sum()))


def extra_wells(energies: Array, depth: float = 0.0) -> int:
    """Wells beyond one, ends included."""
    return max(0, sum(wells(energies, depth)) - 1)


def wells_of_force(force: Array) -> Wells:
    """The same of an energy whose −dE/dx along the path this is, (points,), or what is of its sign.

    Between two points the energy goes on as the force at a point says; an exact zero is passed over.
    """
    return wells(np.concatenate([[0.0], -np.cumsum(np.sign(force))]))


def tortuosity(energies: Array) -> float:
    """Way up and down along the path over that of one well between the same ends: 1 for one well."""
    lowest = float(energies.min())
    straight = float(energies[0]) + float(energies[-1]) - 2 * lowest
    return float(np.abs(np.diff(energies)).sum()) / straight if straight > 0 else np.inf


def roughness(values: Array) -> float:
    """Largest distance of an inner point from the cubic through its four neighbours, in the same unit.

    The points must be evenly spaced.
    """
    return float(np.abs(np.diff(values, 4)).max()) / 6
