"""Whether what is far away is not felt: largest change by a distant atom, in meV/Å.

A frame, without its cell, and the same with one more atom of its first element farther away than twice the
model's receptive field (cutoff × interactions; 50 Å where nothing says it). Neither the forces on the frame's
atoms may change, nor the energy by which moving one of them by 0.1 Å raises it: the larger of both changes is
told, the latter over 0.1 Å, of the worst frame. A MACE leaves rounding, below 1e-6. More shows a model with a
global term (a norm over all atoms, charges that spread), whose forces depend on the size of the system: it is
wrong in cells larger than those that it was trained on. The test with ghost atoms is that of ML-PEG (2025).
Cost: four predictions of each frame.
"""

from __future__ import annotations

from mlipilot.evaluation.declaration import FRAMES, Group, Metric
from mlipilot.evaluation.lazily import Array, Atoms, Bench, np
from mlipilot.evaluation.metrics_file import Measurement, MeasurementError

_FAR_A = 50.0
_STEP_A = 0.1


def measure(bench: Bench) -> Measurement:
    """The largest change over the bench's frames. Raises MeasurementError when one is not finite."""
    field_a = _FAR_A / 2 if bench.model is None else bench.model.config.arguments.receptive_field_a
    found = [_largest_ev_per_a(bench, atoms, 2 * field_a + 1) for atoms in bench.frames]
    return Measurement({"locality_error_mev_per_a": 1000 * float(np.max(found))})


def _largest_ev_per_a(bench: Bench, frame: Atoms, distance_a: float) -> float:
    alone = frame.copy()
    alone.pbc, alone.cell = False, None
    moved = alone.copy()
    moved.positions[0] += _STEP_A / np.sqrt(3)
    there, moved_there, here, moved_here = bench.predict(
        [with_ghost(alone, distance_a), with_ghost(moved, distance_a), alone, moved]
    )
    rise_ev = (moved_there.energy_ev - there.energy_ev) - (moved_here.energy_ev - here.energy_ev)
    changes: Array = np.array([*(there.forces_ev_per_a[:-1] - here.forces_ev_per_a).flat, rise_ev / _STEP_A])
    if not np.isfinite(changes).all():
        raise MeasurementError("an energy or a force is not a finite number")
    return float(abs(changes).max())


def with_ghost(atoms: Atoms, distance_a: float) -> Atoms:
    """A copy with one more atom, the last, this far beyond the others along x."""
    place = atoms.positions.mean(axis=0)
    place[0] = atoms.positions[:, 0].max() + distance_a
    both: Atoms = atoms.copy()
    both += type(atoms)([atoms.numbers[0]], [place])
    return both


GROUP = Group(
    name="locality",
    place=85,
    metrics=(Metric("locality_error_mev_per_a", "meV/Å", "lower", "locality error", FRAMES),),
    measure=measure,
    source="ML-PEG (github.com/ddmms/ml-peg, 2025)",
    exam=True,
)
