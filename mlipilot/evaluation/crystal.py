"""The crystal on the bench: its cells, and its equilibrium from an equation of state."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from numpy.typing import NDArray

from mlipilot.evaluation.bench_settings import BenchSettings, CrystalSettings
from mlipilot.evaluation.metrics_file import MeasurementError

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


def equilibrium(calculator: Calculator, settings: BenchSettings) -> Lattice:
    """Lattice constant (Å), bulk modulus (GPa) and energy (eV/atom) where the pressure is zero.

    The Birch-Murnaghan equation of state (Birch, Phys. Rev. 71, 809 (1947)) is fitted to energies of evenly
    strained cells; the scan is moved until its centre lies at the minimum.
    Raises MeasurementError when there is no minimum near the guess.
    """
    guess = centre = settings.crystal.lattice_constant_guess_a
    strains = np.linspace(-1, 1, settings.lattice.points) * settings.lattice.max_abs_strain
    atoms_in_cell = len(cubic_cell(settings.crystal, centre))
    for _ in range(_MAX_SCANS):
        volumes, energies = _scan(calculator, settings.crystal, centre * (1 + strains))
        lowest = int(energies.argmin())
        if lowest in (0, len(strains) - 1):
            centre *= 1 + strains[lowest]  # still downhill at the border
            continue
        volume, energy, modulus = birch_murnaghan(volumes, energies)
        found = float(np.cbrt(volume * atoms_in_cell))
        if abs(found / centre - 1) < _CENTRED:
            return Lattice(found, modulus / units.GPa, energy, volumes, energies)
        centre = found
    raise MeasurementError(
        f"no energy minimum near the lattice constant {guess:g} Å (the search went to {centre:.3g} Å)"
    )


def birch_murnaghan(
    volumes_a3: NDArray[np.float64], energies_ev: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Volume (Å³), energy (eV) and bulk modulus (eV/Å³) at the minimum of the third-order equation.

    The equation is a cubic polynomial in x = V^(−2/3), so that its least squares are linear and need no
    start values (ASE's iterative fit fails for energies near zero). At the minimum, where dE/dx = 0,
    B = V d²E/dV² = 4/9 V^(−7/3) d²E/dx². Raises MeasurementError when no minimum lies between the volumes.
    """
    x = volumes_a3 ** (-2 / 3)
    centre = float(x.mean())
    cubic = np.polyfit(x / centre - 1, energies_ev, 3)  # in t = x/centre − 1, which is well conditioned
    c, b, a = np.polyder(cubic)  # dE/dt = a + b t + c t²
    discriminant = b * b - 4 * a * c
    if discriminant > 0 and b + math.sqrt(discriminant) > 0:
        # the root where dE/dt rises, in the form that stays exact when the cubic term vanishes
        t = -2 * a / (b + math.sqrt(discriminant))
        volume = float((centre * (1 + t)) ** -1.5) if t > -1 else math.inf
        if volumes_a3.min() <= volume <= volumes_a3.max():
            curvature = math.sqrt(discriminant) / centre**2
            return volume, float(np.polyval(cubic, t)), float(4 / 9 * volume ** (-7 / 3) * curvature)
    raise MeasurementError("the equation of state has no minimum: the crystal is not stable")


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
