"""Several systems that do not feel each other, moved in lockstep by one integrator.

A batch of small molecules costs little more than one of them, and the first that breaks ends the dynamics of
all: what counts is the worst.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray

from mlipilot.evaluation.bench import Bench
from mlipilot.evaluation.declaration import DynamicsLimits
from mlipilot.evaluation.dynamics import BrokenError, Outcome
from mlipilot.evaluation.families import Prediction

Array = NDArray[np.float64]


class Ensemble:
    """Systems by name; `atoms` is all of them as one, for an integrator, without a cell of its own."""

    def __init__(self, bench: Bench, members: Mapping[str, Atoms]) -> None:
        self.names = list(members)
        self.members: list[Atoms] = [atoms.copy() for atoms in members.values()]
        """Each with its cell; its positions are those of the newest forces."""
        self.atoms = Atoms(
            numbers=np.concatenate([atoms.numbers for atoms in self.members]),
            positions=np.concatenate([atoms.positions for atoms in self.members]),
            momenta=np.concatenate([atoms.get_momenta() for atoms in self.members]),
            masses=np.concatenate([atoms.get_masses() for atoms in self.members]),
        )
        self._calculator = _BatchCalculator(bench, self.members)
        self.atoms.calc = self._calculator
        self.sizes = np.array([len(atoms) for atoms in self.members])
        self._starts = np.concatenate([[0], np.cumsum(self.sizes)[:-1]])

    @property
    def predictions(self) -> list[Prediction]:
        """What the newest forces are from, of each member."""
        return self._calculator.predictions

    def kinetic_energies_ev(self) -> Array:
        """Of each member, (members,)."""
        by_atom = (self.atoms.get_momenta() ** 2).sum(axis=1) / (2 * self.atoms.get_masses())
        kinetic: Array = np.add.reduceat(by_atom, self._starts)
        return kinetic

    def total_energies_ev(self) -> Array:
        """Potential and kinetic energy of each member, (members,)."""
        self.atoms.get_forces()  # of where the atoms are now
        potential = np.array([one.energy_ev for one in self.predictions])
        total: Array = potential + self.kinetic_energies_ev()
        return total

    def check(self, temperature_k: float, limits: DynamicsLimits) -> None:
        """Raises BrokenError when a member is too hot, which the mean over all would hide."""
        hottest = float(self._temperatures_k().max())
        if hottest > limits.max_temperature_factor * temperature_k:
            bound = f"{limits.max_temperature_factor:g} × {temperature_k:g} K"
            raise BrokenError(f"{hottest:.4g} K is above {bound}")

    def why_broken(self, outcome: Outcome, limits: DynamicsLimits) -> str:
        """Why a trajectory ended early, and the member under too large a force, or the hottest."""
        forces = np.abs(self.atoms.get_forces()).max(axis=1)
        forces[~np.isfinite(forces)] = np.inf
        largest = np.maximum.reduceat(forces, self._starts)
        is_strained = largest.max() > limits.max_force_ev_per_a
        worst = int((largest if is_strained else self._temperatures_k()).argmax())
        return f"{self.names[worst]}: {outcome.broken}"

    def _temperatures_k(self) -> Array:
        kelvins: Array = 2 * self.kinetic_energies_ev() / (3 * self.sizes * units.kB)
        return kelvins


class _BatchCalculator(Calculator):  # type: ignore[misc]  # ASE has no types
    """Energy and forces of all members, predicted as one batch."""

    implemented_properties = ("energy", "forces")

    def __init__(self, bench: Bench, members: Sequence[Atoms]) -> None:
        super().__init__()
        self.bench = bench
        self.members = members
        self.predictions: list[Prediction] = []

    def calculate(self, *asked: Any, **by_name: Any) -> None:
        """Fill `results` with all that it gives, whatever ASE asks for of which atoms."""
        super().calculate(*asked, **by_name)
        start = 0
        for member in self.members:
            member.positions = self.atoms.positions[start : start + len(member)]
            start += len(member)
        found = self.predictions = self.bench.predict(self.members)
        self.results = {
            "energy": float(sum(one.energy_ev for one in found)),
            "forces": np.concatenate([one.forces_ev_per_a for one in found]),
        }
