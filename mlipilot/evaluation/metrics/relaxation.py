"""Distance of the model's relaxed geometry from the true one: RMSD in Å, averaged over the molecules.

RMSD = sqrt(Σ |x_i − y_i|² / N) over all atoms, hydrogens too, without weights, after the best translation and
proper rotation (ASE's quaternions). The relaxation starts from the true geometry, so that atoms keep their
order: permutations and mirror images are not considered. Relaxed with ASE's BFGS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from mlipilot.evaluation.declaration import MOLECULES, Group, Metric, Section, Settings
from mlipilot.evaluation.lazily import Atoms, Bench, np
from mlipilot.evaluation.results import Measurement, MeasurementError

if TYPE_CHECKING:
    from mlipilot.evaluation.reference_molecules import Molecule


class RelaxationSettings(Settings):
    """Each reference molecule relaxed by the model, from the true equilibrium."""

    fmax_ev_per_a: float = Field(default=0.01, gt=0, le=0.5)
    max_steps: int = Field(default=100, ge=1, le=10000)


def relaxed(bench: Bench, molecule: Molecule) -> Atoms:
    """The model's own equilibrium of a molecule, sought once for all who ask.

    Raises MeasurementError when the relaxation does not converge.
    """
    return bench.once(("relaxed", molecule.name), lambda: _relax(bench, molecule))


def _relax(bench: Bench, molecule: Molecule) -> Atoms:
    from ase.optimize import BFGS

    settings = bench.settings.section(RelaxationSettings)
    atoms: Atoms = molecule.atoms.copy()
    atoms.calc = bench.calculator
    try:
        converged = BFGS(atoms, logfile=None).run(settings.fmax_ev_per_a, settings.max_steps)
    except np.linalg.LinAlgError:  # of a Hessian estimated from forces that are constant or no numbers
        converged = False
    if not converged:
        raise MeasurementError(
            f"{molecule.name} did not relax to {settings.fmax_ev_per_a:g} eV/Å in {settings.max_steps} steps"
        )
    atoms.calc = None
    return atoms


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
