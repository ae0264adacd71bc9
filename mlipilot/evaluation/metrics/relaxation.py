"""Distance of the model's relaxed geometry from the true one: RMSD in Å, averaged over the molecules.

RMSD = sqrt(Σ |x_i − y_i|² / N) over all atoms, hydrogens too, without weights, after the best translation and
proper rotation (ASE's quaternions). The relaxation starts `displacement_a` away from the true geometry, by
this very distance, along directions that a seed draws among those that neither move nor turn the molecule: a
model without forces has it for its RMSD. Atoms keep their order: permutations and mirror images are not
considered. Relaxed with ASE's BFGS.
"""

from __future__ import annotations

from mlipilot.evaluation.declaration import MOLECULES, Group, Metric, Section
from mlipilot.evaluation.lazily import Atoms, Bench, np
from mlipilot.evaluation.metrics_file import Measurement
from mlipilot.evaluation.relaxed_molecules import RelaxationSettings, relaxed


def rmsd_a(found: Atoms, true: Atoms) -> float:
    """RMSD in Å after the best superposition; both arguments stay as they are."""
    from ase.build import minimize_rotation_and_translation

    moved = found.copy()
    minimize_rotation_and_translation(true, moved)
    return float(np.sqrt(((moved.positions - true.positions) ** 2).sum(axis=1).mean()))


def measure(bench: Bench) -> Measurement:
    """The mean over the molecules."""
    distances = [rmsd_a(relaxed(bench, molecule), molecule.atoms) for molecule in bench.molecules]
    return Measurement({"relaxation_rmsd_a": float(np.mean(distances))})


GROUP = Group(
    name="relaxation",
    place=130,
    metrics=(Metric("relaxation_rmsd_a", "Å", "lower", "relaxation RMSD", MOLECULES),),
    measure=measure,
    sections=(Section("relaxation", RelaxationSettings, MOLECULES),),
)
