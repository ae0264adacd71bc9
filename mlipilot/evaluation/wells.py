"""How smooth the energy along a path is: wells that are too many, and how far it goes up and down.

Both follow the curves of diatomics and of energy over volume in MLIP Arena (Chiang et al., 2025) and in the
paper on MACE-MP-0 (Batatia et al., arXiv:2401.00096).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlipilot.evaluation.metrics_file import MeasurementError


def finite(energies: NDArray[np.float64], what: str) -> NDArray[np.float64]:
    """The energies as they are. Raises MeasurementError naming `what` where one is not a finite number."""
    if not np.isfinite(energies).all():
        raise MeasurementError(f"an energy of {what} is not a finite number")
    return energies


def extra_wells(energies: NDArray[np.float64], depth: float) -> int:
    """Wells beyond one in finite energies (points,) along a path; those less deep than `depth` do not count.

    A curve that still falls at an end has a well there: the path ends before its bottom.
    """
    from scipy.signal import find_peaks

    walls = np.array([energies.max() + 2 * depth])
    wells, _ = find_peaks(-np.concatenate([walls, energies, walls]), prominence=depth)
    return max(0, len(wells) - 1)


def tortuosity(energies: NDArray[np.float64]) -> float:
    """Way up and down along the path over that of one well between the same ends: 1 for one well."""
    lowest = float(energies.min())
    straight = float(energies[0]) + float(energies[-1]) - 2 * lowest
    return float(np.abs(np.diff(energies)).sum()) / straight if straight > 0 else np.inf
