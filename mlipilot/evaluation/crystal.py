"""The crystal on the bench: its cells, and its equilibrium from an equation of state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.eos import EquationOfState
from numpy.typing import NDArray

from mlipilot.evaluation.results import MeasurementError
from mlipilot.evaluation.settings import CrystalSettings, EvaluationSettings

_MAX_SCANS = 6
_CENTRED = 1e-3  # relative; a scan whose centre is this near to its minimum is taken


@dataclass(frozen=True)
class Lattice:
    """The crystal at zero pressure, and the energy-volume curve that gave it."""

    lattice_constant_a: float
    bulk_modulus_gpa: float
    energy_ev_per_atom: float
    volumes_a3_per_atom: NDArray[np.float64]
    energies_ev_per_atom: NDArray[np.float64]


def reference_calculator(crystal: CrystalSettings) -> Calculator:
    """The calculator that is the truth for this crystal: ASE's EMT."""
    return EMT(asap_cutoff=crystal.emt_asap_cutoff)


def cubic_cell(crystal: CrystalSettings, lattice_constant_a: float, repeats: int = 1) -> Atoms:
    """`repeats`³ conventional cubic cells, axes along x, y and z, periodic."""
    cell = bulk(crystal.symbol, crystal.structure, a=lattice_constant_a, cubic=True)
    return cell.repeat(repeats)


def rattled_cell(
    crystal: CrystalSettings, lattice_constant_a: float, repeats: int, rattle_a: float, seed: int
) -> Atoms:
    """A supercell whose atoms are displaced by normal noise of standard deviation `rattle_a` (Å)."""
    atoms = cubic_cell(crystal, lattice_constant_a, repeats)
    atoms.positions += np.random.default_rng(seed).normal(0.0, rattle_a, atoms.positions.shape)
    return atoms


def equilibrium(calculator: Calculator, settings: EvaluationSettings) -> Lattice:
    """Lattice constant (Å), bulk modulus (GPa) and energy (eV/atom) where the pressure is zero.

    Birch-Murnaghan equation of state (Birch, Phys. Rev. 71, 809 (1947)) fitted by ASE to energies of
    evenly strained cells; the scan is moved until its centre lies at the minimum.
    Raises MeasurementError when there is no such minimum near the guess.
    """
    centre = settings.crystal.lattice_constant_guess_a
    for _ in range(_MAX_SCANS):
        strains = np.linspace(-1, 1, settings.lattice.points) * settings.lattice.max_abs_strain
        volumes, energies = _scan(calculator, settings.crystal, centre * (1 + strains))
        lowest = centre * (1 + strains[int(energies.argmin())])
        if lowest in (centre * (1 + strains[0]), centre * (1 + strains[-1])):
            centre = lowest  # still downhill at the border
            continue
        volume, energy, modulus = EquationOfState(volumes, energies, eos="birchmurnaghan").fit(warn=False)
        atoms_in_cell = len(cubic_cell(settings.crystal, centre))
        found = float(np.cbrt(volume * atoms_in_cell))
        if not modulus > 0:
            raise MeasurementError(f"the bulk modulus is {modulus / units.GPa:.3g} GPa: no stable crystal")
        if abs(found / centre - 1) < _CENTRED:
            return Lattice(found, float(modulus / units.GPa), float(energy), volumes, energies)
        centre = found
    raise MeasurementError(
        f"no energy minimum near the lattice constant {settings.crystal.lattice_constant_guess_a:g} Å "
        f"(the search went to {centre:.3g} Å)"
    )


def _scan(
    calculator: Calculator, crystal: CrystalSettings, constants_a: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    cells = [cubic_cell(crystal, float(constant)) for constant in constants_a]
    energies = np.array([energy_per_atom(calculator, cell) for cell in cells])
    if not np.isfinite(energies).all():
        raise MeasurementError("the crystal's energy is not a finite number")
    return np.array([cell.get_volume() / len(cell) for cell in cells]), energies


def energy_per_atom(calculator: Calculator, atoms: Atoms) -> float:
    """Potential energy in eV per atom."""
    atoms.calc = calculator
    return float(atoms.get_potential_energy()) / len(atoms)
