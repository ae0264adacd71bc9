"""Energy along bond and torsion scans: the error of the profile and its roughness, in meV.

d_i = E_model − E_reference at the points of a scan. Error: mean |d_i − mean(d)|, the absolute error after the
best common shift, averaged over the scans. Roughness: max |δ⁴d_i| / 6, the largest distance of a point of d
from the cubic through its four neighbours: any error that is smooth from point to point (a shift, a tilt, a
barrier too high) hardly counts, a step or a kink between neighbours does. It sees nothing between the points.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mlipilot.evaluation.molecules import Scan
from mlipilot.evaluation.results import Measurement
from mlipilot.evaluation.subject import Subject

Array = NDArray[np.float64]


def profile_error(deviations: Array) -> float:
    """Mean distance of deviations (points,) from their mean, in their unit."""
    return float(np.abs(deviations - deviations.mean()).mean())


def roughness(deviations: Array) -> float:
    """Largest distance of an inner point from the cubic through its four neighbours, in the same unit."""
    return float(np.abs(np.diff(deviations, 4)).max()) / 6


def measure(subject: Subject, scans: Sequence[Scan]) -> Measurement:
    """Both numbers; the profiles above the lowest point of the reference, shifted to fit, as curves."""
    errors: list[float] = []
    roughnesses: list[float] = []
    curves: dict[str, Array] = {}
    for index, scan in enumerate(scans):
        found = np.array([one.energy_ev for one in subject.predict(scan.frames)])
        deviations = 1000 * (found - scan.energies_ev)
        errors.append(profile_error(deviations))
        roughnesses.append(roughness(deviations))
        curves |= {
            f"scan_{index}_coordinate": scan.coordinates,
            f"scan_{index}_reference_mev": 1000 * (scan.energies_ev - scan.energies_ev.min()),
            f"scan_{index}_model_mev": 1000 * (scan.energies_ev - scan.energies_ev.min())
            + deviations
            - deviations.mean(),
        }
    return Measurement(
        {"scan_energy_mae_mev": float(np.mean(errors)), "scan_roughness_mev": float(np.max(roughnesses))},
        curves=curves,
    )
