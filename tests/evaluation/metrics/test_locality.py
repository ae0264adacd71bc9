"""Models that feel what is far away, by a known amount."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT

from mlipilot.evaluation.bench import Bench
from mlipilot.evaluation.families.mace_rebuilding import rebuild
from mlipilot.evaluation.metric_settings import EvaluationSettings
from mlipilot.evaluation.metrics import locality
from mlipilot.evaluation.metrics_file import MeasurementError

ERROR = "locality_error_mev_per_a"
FRAMES = [bulk("Cu", cubic=True), molecule("H2O")]


class Global(Calculator):  # type: ignore[misc]  # ASE has no types
    """EMT with a term that grows with the number of atoms: of the forces, or of the first atom's place."""

    implemented_properties = ("energy", "forces")

    def __init__(self, force_ev_per_a: float = 0.0, slope_ev_per_a: float = 0.0) -> None:
        super().__init__()
        self.force_ev_per_a, self.slope_ev_per_a = force_ev_per_a, slope_ev_per_a

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):  # type: ignore[no-untyped-def]
        super().calculate(atoms, properties, system_changes)
        copy = atoms.copy()
        copy.calc = EMT()
        along = float(atoms.positions[0].sum()) / np.sqrt(3)
        self.results = {
            "energy": copy.get_potential_energy() + self.slope_ev_per_a * len(atoms) * along,
            "forces": copy.get_forces() + self.force_ev_per_a * len(atoms),
        }


def error(calculator: Calculator, frames: list[Any] = FRAMES) -> float:
    settings = EvaluationSettings(system="structures")
    return locality.measure(Bench(calculator, settings, frames=frames)).values[ERROR]


def test_what_is_local_feels_nothing() -> None:
    assert error(EMT()) == pytest.approx(0, abs=1e-6)


def test_a_random_mace_feels_nothing_beyond_twice_its_receptive_field(pristine_handover: Path) -> None:
    model = rebuild(pristine_handover)
    assert model.config.arguments.receptive_field_a == 8.0  # two interactions of 4 Å
    bench = Bench(model.calculator(), EvaluationSettings(system="structures"), model, frames=FRAMES[:1])
    assert locality.measure(bench).values[ERROR] < 1e-6


def test_a_force_or_an_energy_that_knows_of_the_ghost_is_off_by_what_it_makes_of_it() -> None:
    assert error(Global(force_ev_per_a=0.02)) == pytest.approx(20)
    assert error(Global(slope_ev_per_a=0.03)) == pytest.approx(30)
    assert error(Global(force_ev_per_a=-0.02, slope_ev_per_a=0.01)) == pytest.approx(20)


def test_the_ghost_is_one_atom_that_far_from_the_frame_which_stays_as_it_is() -> None:
    water = molecule("H2O")
    both = locality.with_ghost(water, 17.0)
    assert both.symbols.get_chemical_formula() == "H2O2" and len(water) == 3
    assert both.get_distances(3, [0, 1, 2]).min() >= 17.0
    copper = bulk("Cu", cubic=True)
    error(EMT(), [copper])
    assert copper.pbc.all() and copper.cell.volume > 0


def test_an_energy_that_is_no_number_is_a_reason() -> None:
    with pytest.raises(MeasurementError, match="an energy or a force is not a finite number"):
        error(Global(slope_ev_per_a=np.nan))
