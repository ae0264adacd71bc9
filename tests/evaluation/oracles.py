"""Calculators whose answers are known in closed form, and molecules of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

from mlipilot.evaluation.bench import Bench
from mlipilot.evaluation.catalog import GROUPS
from mlipilot.evaluation.families import Prediction
from mlipilot.evaluation.metric_settings import EvaluationSettings
from mlipilot.evaluation.reference_molecules import Molecule, Scan


class PairSprings(Calculator):  # type: ignore[misc]  # ASE has no types
    """½ k (r − r0)² (eV, Å) between all pairs; after `breaks_after` calls every force is `broken`."""

    implemented_properties = ("energy", "forces")

    def __init__(
        self, constant: float, length_a: float, breaks_after: int = 10**9, broken: float = math.nan
    ) -> None:
        super().__init__()
        self.constant, self.length_a = constant, length_a
        self.breaks_after, self.broken, self.calls = breaks_after, broken, 0

    def calculate(
        self,
        atoms: Any = None,
        properties: Any = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        self.calls += 1
        separations = atoms.positions[:, None] - atoms.positions[None]
        distances = np.linalg.norm(separations, axis=2)
        np.fill_diagonal(distances, self.length_a)
        stretch = distances - self.length_a
        forces = -(self.constant * stretch / distances)[:, :, None] * separations
        total = (
            forces.sum(axis=1) if self.calls <= self.breaks_after else np.full((len(atoms), 3), self.broken)
        )
        self.results = {"energy": 0.25 * self.constant * float((stretch**2).sum()), "forces": total}


class Repulsive(Calculator):  # type: ignore[misc]  # ASE has no types
    """Two atoms that push each other away with a constant force."""

    implemented_properties = ("energy", "forces")

    def __init__(self, force_ev_per_a: float) -> None:
        super().__init__()
        self.force_ev_per_a = force_ev_per_a

    def calculate(
        self,
        atoms: Any = None,
        properties: Any = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        separation = atoms.positions[1] - atoms.positions[0]
        distance = float(np.linalg.norm(separation))
        push = self.force_ev_per_a * separation / distance
        self.results = {"energy": -self.force_ev_per_a * distance, "forces": np.array([-push, push])}


class AlteredEmt(Calculator):  # type: ignore[misc]  # ASE has no types
    """EMT times a factor, of forces by another one if it is given; a pressure (eV/Å³) and an energy more."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(
        self,
        factor: float = 1.0,
        force_factor: float | None = None,
        pressure_ev_per_a3: float = 0.0,
        more_ev: Callable[[Atoms], float] = lambda _: 0.0,
    ) -> None:
        super().__init__()
        self.factor, self.force_factor = factor, factor if force_factor is None else force_factor
        self.pressure_ev_per_a3, self.more_ev = pressure_ev_per_a3, more_ev

    def calculate(
        self,
        atoms: Any = None,
        properties: Any = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        copy = atoms.copy()
        copy.calc = EMT()
        self.results = {
            "energy": self.factor * copy.get_potential_energy() + self.more_ev(atoms),
            "forces": self.force_factor * copy.get_forces(),
        }
        if copy.pbc.all():
            pressure = self.pressure_ev_per_a3 * np.array([1, 1, 1, 0, 0, 0])
            self.results["stress"] = self.factor * copy.get_stress() - pressure


class AgainstEmt(Bench):
    """A calculator on the crystal's bench, where EMT gives each true value when it is asked for."""

    def __init__(self, calculator: Calculator, **sections: Any) -> None:
        settings = EvaluationSettings.model_validate(sections)
        super().__init__(calculator, settings)
        self.emt = Bench(EMT(), settings)

    def truth(self, name: str) -> Any:
        return next(group.reference[name] for group in GROUPS if name in group.reference)(self.emt)


class Told(Bench):
    """Predicts the energies that it was told, for whatever structures."""

    def __init__(self, energies_ev: Sequence[float], scans: Sequence[Scan] = ()) -> None:
        super().__init__(Calculator(), EvaluationSettings(system="molecules"), scans=scans)
        self.energies_ev = energies_ev

    def predict(self, structures: Sequence[Atoms]) -> list[Prediction]:
        return [
            Prediction(energy, np.zeros((len(atoms), 3)), np.zeros(6))
            for energy, atoms in zip(self.energies_ev, structures, strict=True)
        ]


def bench(calculator: Calculator, molecules: Sequence[Molecule] = (), **sections: Any) -> Bench:
    """A calculator on the molecules' bench."""
    settings = EvaluationSettings.model_validate({"system": "molecules", **sections})
    return Bench(calculator, settings, molecules=molecules)


def dimer(symbols: str = "OH", length_a: float = 1.0, frequency_per_cm: float = 1000.0) -> Molecule:
    atoms = Atoms(symbols, positions=[[0, 0, 0], [0, 0, length_a]])
    return Molecule(symbols, atoms, np.array([frequency_per_cm]))


def triangle(symbols: str = "H3", side_a: float = 1.0) -> Molecule:
    """Three equal atoms, equilateral."""
    corners = np.array([[0, 0, 0], [1, 0, 0], [0.5, math.sqrt(0.75), 0]]) * side_a
    return Molecule(symbols, Atoms(symbols, positions=corners), np.zeros(3))
