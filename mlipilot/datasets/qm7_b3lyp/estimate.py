"""How long labels will take on this machine, measured before they are begun."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

import numpy as np

from mlipilot.datasets.qm7_b3lyp.chosen_molecules import collect
from mlipilot.datasets.qm7_b3lyp.qm7_options import Qm7B3lypOptions
from mlipilot_labels.cost import label_seconds
from mlipilot_labels.label import label_geometries
from mlipilot_labels.method import chemistry, one_thread
from mlipilot_labels.records import Geometry, Molecule

# Methanol, bent a little: large enough to weigh what weighs in others, small enough to take seconds.
_PROBE = Molecule(
    name="probe",
    origin="timing",
    numbers=[6, 8, 1, 1, 1, 1],
    positions_a=[
        (-0.05, 0.66, 0.0),
        (-0.05, -0.77, 0.02),
        (-1.08, 0.98, 0.01),
        (0.87, -1.06, 0.0),
        (0.44, 1.07, 0.90),
        (0.44, 1.07, -0.88),
    ],
    relax=False,
)


@dataclass(frozen=True)
class Estimate:
    """What labels cost, in time of one core."""

    molecules: int
    labels: int
    core_hours: float
    slowness: float
    """Time of a label here over that on the machine of docs/benchmarks.md."""

    @property
    def words(self) -> str:
        """The estimate in two lines: molecules, labels, core-hours, and how slow this machine is."""
        return (
            f"{self.molecules} molecules, {self.labels} labels: about {self.core_hours:.3g} core-hours "
            f"± 30 %\n(a label here takes {self.slowness:.2f} × its time on the machine of the benchmarks)"
        )


def estimate(options: Qm7B3lypOptions) -> Estimate:
    """Time a label and scale by the molecules' sizes. Raises InputError as building would."""
    chemistry("pyscf")
    molecules = [molecule for molecule in collect(options) if len(molecule.numbers) > 1]
    core_seconds = options.geometries * sum(label_seconds(molecule.numbers) for molecule in molecules)
    slowness = _probe_seconds() / label_seconds(_PROBE.numbers)
    labels = options.geometries * len(molecules)
    return Estimate(len(molecules), labels, core_seconds * slowness / 3600, slowness)


def _probe_seconds() -> float:
    """CPU-seconds of a probe's label, by a process of one thread as labelling is."""
    command = [sys.executable, "-m", __name__]
    return float(subprocess.run(command, env=one_thread(), check=True, capture_output=True).stdout)


def _time_probe() -> float:
    """CPU-seconds of a probe's second label.

    The first one loads what has to be loaded, and has no neighbour whose orbitals it starts from, as nearly
    all labels have.
    """
    still = np.array(_PROBE.positions_a)
    made = [
        Geometry.model_validate({"kind": "rattled", "positions_a": (still * stretch).tolist()})
        for stretch in (1.0, 1.01)
    ]
    return float(label_geometries(_PROBE, made)[1].label["cpu_seconds"])


if __name__ == "__main__":
    sys.stdout.write(f"{_time_probe()}\n")
