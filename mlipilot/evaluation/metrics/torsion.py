"""Height of torsion barriers: |barrier of the model − barrier of the reference| in meV, mean over the scans.

A barrier is the highest less the lowest energy along a torsion scan of `test/scan.xyz`; model and reference
may have either at different points. The mean, because the usual bound is one on it: chemical accuracy, 43 meV
or 1 kcal/mol, as of the dihedral scans of MLIPAudit (Wehrhan et al., 2025). A model above it puts a
molecule's conformers into wrong proportions, or turns it at a wrong rate: at 300 K 43 meV are a factor of
five.

No file says which scans are torsions, so their geometry does: no two atoms with one or two bonds between them
change their distance by more than 0.2 Å, and some with three or more do. Cost: a prediction of each frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlipilot.evaluation.declaration import MOLECULES, Group, Metric
from mlipilot.evaluation.lazily import Bench, np
from mlipilot.evaluation.metrics_file import Measurement, MeasurementError

if TYPE_CHECKING:
    from mlipilot.evaluation.reference_molecules import Scan

_RIGID_A = 0.2  # of a relaxed scan, whose angles give way by a few degrees


def is_torsion(scan: Scan) -> bool:
    """Whether bonds and angles stay what they are along a scan while the molecule changes its shape.

    Bonds are those of the frame of lowest energy.
    """
    from mlipilot.evaluation.bonds import bonds_between

    between = bonds_between(scan.frames[int(scan.energies_ev.argmin())])
    changes_a = np.ptp([atoms.get_all_distances() for atoms in scan.frames], axis=0)
    near, far = changes_a[between < 3], changes_a[(between >= 3) & np.isfinite(between)]
    return bool(near.max(initial=0.0) < _RIGID_A < far.max(initial=0.0))


def measure(bench: Bench) -> Measurement:
    """The mean over the torsion scans. Raises MeasurementError when an energy is not finite."""
    errors_ev = []
    for scan in filter(is_torsion, bench.scans):
        found = np.array([one.energy_ev for one in bench.predict(scan.frames)])
        if not np.isfinite(found).all():
            raise MeasurementError(f"{scan.name}: an energy is not a finite number")
        errors_ev.append(abs(np.ptp(found) - np.ptp(scan.energies_ev)))
    return Measurement({"torsion_barrier_error_mev": 1000 * float(np.mean(errors_ev))})


GROUP = Group(
    name="torsion",
    place=155,
    metrics=(
        Metric(
            "torsion_barrier_error_mev",
            "meV",
            "lower",
            "torsion barrier error",
            MOLECULES,
            lambda bench: any(map(is_torsion, bench.scans)),
        ),
    ),
    measure=measure,
    source="Wehrhan et al., MLIPAudit, arXiv:2511.20487 (2025)",
    exam=True,
)
