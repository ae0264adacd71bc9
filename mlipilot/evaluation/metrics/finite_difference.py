"""Forces against the slope of the energy: max |F + (E(x + h) − E(x − h)) / 2h| in meV/Å.

Central differences on randomly chosen components of a rattled cell, or of test frames; truncation error of
order h². A model whose forces are not the gradient of its energy shows here at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from mlipilot.evaluation.crystal import rattled_cell
from mlipilot.evaluation.results import Measurement
from mlipilot.evaluation.subject import Subject


def measure(subject: Subject) -> Measurement:
    """The largest deviation over the chosen components of the crystal."""
    settings = subject.settings.finite_difference
    crystal = subject.settings.crystal
    atoms = rattled_cell(crystal, crystal.lattice_constant_guess_a, 2, settings.rattle_a, settings.seed)
    return measure_frames(subject, [atoms])


def measure_frames(subject: Subject, frames: Sequence[Atoms]) -> Measurement:
    """The largest deviation over as many components of each frame."""
    found = [1000 * _largest_ev_per_a(subject, atoms) for atoms in frames]
    return Measurement({"finite_difference_force_error_mev_per_a": float(np.max(found))})


def _largest_ev_per_a(subject: Subject, atoms: Atoms) -> float:
    settings = subject.settings.finite_difference
    rng = np.random.default_rng(settings.seed)
    chosen = rng.choice(
        atoms.positions.size, size=min(settings.components, atoms.positions.size), replace=False
    )
    displaced = []
    for component in chosen:
        for sign in (+1, -1):
            copy = atoms.copy()
            copy.positions.reshape(-1)[component] += sign * settings.step_a
            displaced.append(copy)
    found = subject.predict([atoms, *displaced])
    forces = found[0].forces_ev_per_a.reshape(-1)[chosen]
    energies = np.array([one.energy_ev for one in found[1:]]).reshape(-1, 2)
    slopes = (energies[:, 0] - energies[:, 1]) / (2 * settings.step_a)
    return float(np.abs(forces + slopes).max())
