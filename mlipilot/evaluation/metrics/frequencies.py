"""Harmonic frequencies: mean |ν − ν_reference| in cm⁻¹ over all vibrations of the molecules.

ν = ω / 2πc with ω² the eigenvalues of the mass-weighted Hessian H_ij = −dF_i/dx_j, by central differences of
the subject's forces at the subject's own relaxed geometry (Wilson, Decius and Cross, Molecular Vibrations,
1955). Translations and rotations are projected out, as many as the reference has. Both lists are sorted, an
imaginary frequency counts as a negative one, and they are compared rank by rank. Masses are ASE's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.vibrations import VibrationsData
from numpy.typing import NDArray

from mlipilot.evaluation.metrics.relaxation import Relaxer
from mlipilot.evaluation.molecules import Molecule
from mlipilot.evaluation.results import Measurement
from mlipilot.evaluation.subject import Subject

Array = NDArray[np.float64]


def hessian_ev_per_a2(subject: Subject, atoms: Atoms, step_a: float) -> Array:
    """The symmetrised Hessian, (3N, 3N)."""
    displaced = []
    for component in range(atoms.positions.size):
        for sign in (+1, -1):
            copy = atoms.copy()
            copy.positions.reshape(-1)[component] += sign * step_a
            displaced.append(copy)
    forces = np.array([found.forces_ev_per_a.ravel() for found in subject.predict(displaced)])
    slopes: Array = (forces[1::2] - forces[::2]) / (2 * step_a)
    return (slopes + slopes.T) / 2


def rigid_motions(atoms: Atoms, count: int) -> Array:
    """Mass-weighted translations and rotations, orthonormal, (3N, count); `count` is 5 if linear, else 6."""
    weights = np.sqrt(atoms.get_masses())[:, None]
    arms = atoms.positions - atoms.get_center_of_mass()
    axes = np.eye(3)
    motions = [(weights * axis).ravel() for axis in axes]
    motions += [(weights * np.cross(axis, arms)).ravel() for axis in axes]
    basis: Array = np.linalg.svd(np.column_stack(motions), full_matrices=False)[0][:, :count]
    return basis


def frequencies_per_cm(subject: Subject, atoms: Atoms, vibrations: int, step_a: float) -> Array:
    """Harmonic frequencies at a stationary geometry, ascending, imaginary ones negative, (vibrations,)."""
    roots = np.sqrt(np.repeat(atoms.get_masses(), 3))
    rigid = rigid_motions(atoms, 3 * len(atoms) - vibrations)
    inner = np.eye(3 * len(atoms)) - rigid @ rigid.T
    weighted = inner @ (hessian_ev_per_a2(subject, atoms, step_a) / np.outer(roots, roots)) @ inner
    modes = VibrationsData.from_2d(atoms, weighted * np.outer(roots, roots)).get_frequencies()
    signed = modes.real - modes.imag  # each is real or imaginary
    # the rigid motions, zero but for rounding, are left out
    return np.sort(signed[np.argsort(np.abs(signed))[-vibrations:]])


def measure(relaxer: Relaxer, molecules: Sequence[Molecule]) -> Measurement:
    """The mean over all vibrations of all molecules; both lists as curves."""
    subject = relaxer.subject
    found = []
    for molecule in molecules:
        relaxed = relaxer.relaxed(molecule)
        vibrations = len(molecule.frequencies_per_cm)
        found.append(frequencies_per_cm(subject, relaxed, vibrations, subject.settings.frequencies.step_a))
    model = np.concatenate(found)
    truth = np.concatenate([molecule.frequencies_per_cm for molecule in molecules])
    return Measurement(
        {"frequency_mae_per_cm": float(np.abs(model - truth).mean())},
        curves={"frequency_reference_per_cm": truth, "frequency_model_per_cm": model},
    )
