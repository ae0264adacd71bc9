"""A model's own equilibrium of a reference molecule, which several metrics look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from mlipilot.evaluation.declaration import Settings
from mlipilot.evaluation.lazily import Atoms, Bench, np
from mlipilot.evaluation.results import MeasurementError

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
