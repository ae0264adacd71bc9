"""Energy along bond and torsion scans: the error of the profile and its roughness, in meV.

d_i = E_model − E_reference at the points of a scan. Error: mean |d_i − mean(d)|, the absolute error after the
best common shift, averaged over the scans. Roughness: max |δ⁴d_i| / 6, the largest distance of a point of d
from the cubic through its four neighbours: any error that is smooth from point to point (a shift, a tilt, a
barrier too high) hardly counts, a step or a kink between neighbours does. It sees nothing between the points.
"""

from __future__ import annotations

from mlipilot.evaluation.declaration import MOLECULES, Group, Metric
from mlipilot.evaluation.lazily import Array, Bench, np
from mlipilot.evaluation.metrics_file import Measurement
from mlipilot.evaluation.panels import PROPERTIES, Lines
from mlipilot.evaluation.smoothness import roughness


def profile_error(deviations: Array) -> float:
    """Mean distance of deviations (points,) from their mean, in their unit."""
    return float(abs(deviations - deviations.mean()).mean())


def measure(bench: Bench) -> Measurement:
    """Both numbers; the profiles above the lowest point of the reference, shifted to fit, as curves."""
    errors: list[float] = []
    roughnesses: list[float] = []
    curves: dict[str, Array] = {}
    for index, scan in enumerate(bench.scans):
        found = np.array([one.energy_ev for one in bench.predict(scan.frames)])
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


def _has_scans(bench: Bench) -> bool:
    return bool(bench.scans)


GROUP = Group(
    name="scan",
    place=150,
    metrics=(
        Metric("scan_energy_mae_mev", "meV", "lower", "scan energy MAE", MOLECULES, _has_scans),
        Metric("scan_roughness_mev", "meV", "lower", "scan roughness", MOLECULES, _has_scans),
    ),
    measure=measure,
    panels=(
        Lines(
            figure=PROPERTIES,
            title="Energy along scans",
            caption="energy along bond and torsion scans, the models' profiles shifted to fit best.",
            arrays=("", "scan_*_model_mev", "scan_*_reference_mev"),
            labels=("share of the path", "energy (eV)"),
            divisor=1000,
            shown="reference",
        ),
    ),
)
