"""Invariances and forces: a random MACE obeys them, and calculators that break one are found out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

from mlipilot.evaluation.bench import Bench
from mlipilot.evaluation.families.mace_rebuilding import rebuild
from mlipilot.evaluation.metric_settings import EvaluationSettings
from mlipilot.evaluation.metrics import finite_difference, invariance


class Lawless(Calculator):  # type: ignore[misc]  # ASE has no types
    """EMT with one law broken."""

    implemented_properties = ("energy", "forces", "stress")

    def __init__(self, crime: str) -> None:
        super().__init__()
        self.crime = crime

    def calculate(
        self,
        atoms: Any = None,
        properties: Any = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        emt = EMT()
        copy = atoms.copy()
        copy.calc = emt
        energy, forces = copy.get_potential_energy(), copy.get_forces()
        if self.crime == "rotation":
            energy += 1e-3 * atoms.cell.array[0, 0]
        elif self.crime == "rotation of forces":
            forces = forces + np.array([0.01, 0, 0])
        elif self.crime == "translation":
            energy += 1e-3 * float(atoms.positions[0, 0])
        elif self.crime == "permutation":
            energy += 1e-3 * float(np.linalg.norm(atoms.positions[0] - atoms.positions[1]))
        elif self.crime == "extensivity":
            energy += 0.01
        elif self.crime == "gradient":
            forces = 1.01 * forces
        self.results = {"energy": energy, "forces": forces, "stress": np.zeros(6)}


def laws(bench: Bench) -> dict[str, float]:
    return {**invariance.measure(bench).values, **finite_difference.measure(bench).values}


def test_a_random_mace_obeys_every_law(pristine_handover: Path, settings: EvaluationSettings) -> None:
    model = rebuild(pristine_handover)
    found = laws(Bench(model.calculator(), settings, model))
    assert found.pop("finite_difference_force_error_mev_per_a") < 0.1
    assert max(found.values()) < 1e-6


@pytest.mark.parametrize(
    ("crime", "metric"),
    [
        ("rotation", "rotation_error_mev"),
        ("rotation of forces", "rotation_error_mev"),
        ("translation", "translation_error_mev"),
        ("permutation", "permutation_error_mev"),
        ("extensivity", "extensivity_error_mev"),
        ("gradient", "finite_difference_force_error_mev_per_a"),
    ],
)
def test_a_broken_law_is_found_out(crime: str, metric: str) -> None:
    settings = EvaluationSettings()
    assert laws(Bench(Lawless(crime), settings))[metric] > 0.1


def test_an_extensivity_error_is_in_mev_of_the_whole_cell() -> None:
    found = laws(Bench(Lawless("extensivity"), EvaluationSettings()))
    assert found["extensivity_error_mev"] == pytest.approx(10.0)
