"""Distance of the model's relaxed geometry from the true one: RMSD in Å, averaged over the molecules.

RMSD = sqrt(Σ |x_i − y_i|² / N) over all atoms, hydrogens too, without weights, after the best translation and
proper rotation (ASE's quaternions). The relaxation starts from the true geometry, so that atoms keep their
order: permutations and mirror images are not considered. Relaxed with ASE's BFGS.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.build import minimize_rotation_and_translation
from ase.optimize import BFGS

from mlipilot.evaluation.molecules import Molecule
from mlipilot.evaluation.results import Measurement, MeasurementError
from mlipilot.evaluation.subject import Subject


class Relaxer:
    """The subject's own equilibrium of each molecule, sought once for all who ask."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self._found: dict[str, Atoms | MeasurementError] = {}

    def relaxed(self, molecule: Molecule) -> Atoms:
        """The relaxed geometry. Raises MeasurementError when the relaxation does not converge."""
        if molecule.name not in self._found:
            self._found[molecule.name] = self._relax(molecule)
        found = self._found[molecule.name]
        if isinstance(found, MeasurementError):
            raise found
        return found

    def _relax(self, molecule: Molecule) -> Atoms | MeasurementError:
        settings = self.subject.settings.relaxation
        atoms: Atoms = molecule.atoms.copy()
        atoms.calc = self.subject.calculator
        try:
            converged = BFGS(atoms, logfile=None).run(settings.fmax_ev_per_a, settings.max_steps)
        except np.linalg.LinAlgError:  # of a Hessian estimated from forces that are constant or no numbers
            converged = False
        if not converged:
            return MeasurementError(
                f"{molecule.name} did not relax to {settings.fmax_ev_per_a:g} eV/Å "
                f"in {settings.max_steps} steps"
            )
        atoms.calc = None
        return atoms


def rmsd_a(found: Atoms, true: Atoms) -> float:
    """RMSD in Å after the best superposition; both arguments stay as they are."""
    moved = found.copy()
    minimize_rotation_and_translation(true, moved)
    return float(np.sqrt(((moved.positions - true.positions) ** 2).sum(axis=1).mean()))


def measure(relaxer: Relaxer, molecules: Sequence[Molecule]) -> Measurement:
    """The mean over the molecules."""
    distances = [rmsd_a(relaxer.relaxed(molecule), molecule.atoms) for molecule in molecules]
    return Measurement({"relaxation_rmsd_a": float(np.mean(distances))})
