"""Labels by ASE's EMT potential: energy (eV), forces (eV/Å) and stress (eV/Å³) under MACE's key names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.calculators.emt import EMT

from mlipilot.datasets.base import DECIMALS, ENERGY_KEY, FORCES_KEY, STRESS_KEY
from mlipilot.errors import CheckFailedError

ASAP_CUTOFF = False  # ASE's default; True would shift energies by about 6 meV/atom
FORCE_TOLERANCE_EV_PER_A = 1e-4


def emt() -> EMT:
    """A fresh EMT calculator with the cutoff that provenance records."""
    return EMT(asap_cutoff=ASAP_CUTOFF)


def label(atoms: Atoms) -> Atoms:
    """A copy without velocities, its geometry rounded to what the file holds, labelled on that geometry."""
    frame = Atoms(
        numbers=atoms.numbers,
        positions=np.round(atoms.positions, DECIMALS),
        cell=np.round(atoms.cell.array, DECIMALS),
        pbc=True,
    )
    frame.calc = emt()
    energy, forces = frame.get_potential_energy(), frame.get_forces()
    stress = frame.get_stress(voigt=False)
    frame.calc = None
    # adding 0.0 turns −0.0 into 0.0, which would otherwise print differently
    frame.info = {
        ENERGY_KEY: round(float(energy), DECIMALS),
        # nine numbers, row by row: extxyz readers turn them into the 3×3 matrix, which is symmetric
        STRESS_KEY: np.round((stress + stress.T) / 2, DECIMALS).ravel() + 0.0,
    }
    frame.new_array(FORCES_KEY, np.round(forces, DECIMALS) + 0.0)
    return frame


def force_deviation_ev_per_a(frame: Atoms, step_a: float = 1e-4) -> float:
    """Largest |F + ΔE/Δx| in eV/Å for the labels of a few atoms, by central differences of EMT energies."""
    probe = Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=True, calculator=emt())
    worst = 0.0
    for index in range(0, len(probe), max(1, len(probe) // 3)):
        for axis in range(3):
            energies = []
            for sign in (1, -1):
                probe.positions[index, axis] = frame.positions[index, axis] + sign * step_a
                energies.append(probe.get_potential_energy())
            probe.positions[index, axis] = frame.positions[index, axis]
            slope = (energies[0] - energies[1]) / (2 * step_a)
            worst = max(worst, abs(frame.arrays[FORCES_KEY][index, axis] + slope))
    return worst


def check_labels(frames: Sequence[Atoms]) -> float:
    """The worst `force_deviation_ev_per_a` of `frames`. Raises CheckFailedError beyond the tolerance."""
    worst = max(force_deviation_ev_per_a(frame) for frame in frames)
    if not worst < FORCE_TOLERANCE_EV_PER_A:
        raise CheckFailedError(
            f"labelled forces differ from −dE/dx by {worst:.2e} eV/Å (at most {FORCE_TOLERANCE_EV_PER_A:.0e})"
        )
    return worst
