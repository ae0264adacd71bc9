"""A model's own equilibrium of a reference molecule, which several metrics look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from mlipilot.evaluation.declaration import Settings
from mlipilot.evaluation.lazily import Atoms, Bench, np
from mlipilot.evaluation.metrics_file import MeasurementError

if TYPE_CHECKING:
    from mlipilot.evaluation.reference_molecules import Molecule


class RelaxationSettings(Settings):
    """Each reference molecule relaxed by the model, from near its true equilibrium."""

    displacement_a: float = Field(default=0.2, gt=0, le=0.3)
    """RMSD of the start; above the bound of a gate, or a model that says nothing passes that."""
    seed: int = Field(default=19, ge=0)
    fmax_ev_per_a: float = Field(default=0.01, gt=0, le=0.5)
    max_steps: int = Field(default=100, ge=1, le=10000)


def relaxed(bench: Bench, molecule: Molecule) -> Atoms:
    """The model's own equilibrium of a molecule, sought from `start`, once for all who ask.

    Raises MeasurementError when the relaxation does not converge.
    """
    return bench.once(("relaxed", molecule.name), lambda: _relax(bench, molecule))


def _relax(bench: Bench, molecule: Molecule) -> Atoms:
    from ase.optimize import BFGS

    settings = bench.settings.section(RelaxationSettings)
    atoms = start(molecule, settings)
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


def start(molecule: Molecule, settings: RelaxationSettings) -> Atoms:
    """A copy of the molecule whose RMSD from it is the displacement of the settings."""
    atoms: Atoms = molecule.atoms.copy()
    arms = atoms.positions - atoms.positions.mean(axis=0)
    axes = np.eye(3)
    rigid = [np.tile(axis, len(atoms)) for axis in axes] + [np.cross(axis, arms).ravel() for axis in axes]
    drawn = np.random.default_rng(settings.seed).normal(size=arms.size)
    basis = np.column_stack(rigid)
    # without its part along translations and rotations no superposition brings the two nearer
    bent = drawn - basis @ np.linalg.lstsq(basis, drawn)[0]
    length_a = settings.displacement_a * np.sqrt(len(atoms))
    atoms.positions += (bent * length_a / np.linalg.norm(bent)).reshape(-1, 3)
    return atoms
