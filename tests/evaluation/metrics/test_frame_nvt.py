"""Dynamics of frames whose distances and pressures are known."""

import math
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT

from mlipilot.evaluation.bench import Bench
from mlipilot.evaluation.metric_settings import EvaluationSettings
from mlipilot.evaluation.metrics import frame_nvt

from ..oracles import PairSprings, dimer

WIDE = {"max_force_ev_per_a": 1e9, "max_temperature_factor": 1e30}
COLD: dict[str, Any] = {"duration_ps": 0.01, "temperature_k": 1e-6, "friction_per_ps": 1e-6, "limits": WIDE}
RATIO, DONE = "frame_nvt_min_distance_ratio", "frame_nvt_completed_fraction"


def on(calculator: Calculator, frames: list[Atoms], data: Path | None = None, **settings: Any) -> Bench:
    read = EvaluationSettings.model_validate({"system": "structures", "frame_nvt": settings})
    return Bench(calculator, read, frames=frames, data=data or Path("no data"))


def kept(path: Path, *frames: Atoms) -> Path:
    """A data directory with these frames for the training."""
    (path / "train").mkdir()
    ase.io.write(path / "train" / "train.xyz", list(frames), format="extxyz")
    return path


def test_distances_are_those_of_each_pair_of_elements_with_images() -> None:
    salt = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    found = frame_nvt.smallest_a([salt, dimer("OH", 0.96).atoms, dimer("OH", 0.9).atoms])
    side_by_side = 5.6 / math.sqrt(2)
    expected = {(11, 17): 2.8, (11, 11): side_by_side, (17, 17): side_by_side, (1, 8): 0.9}
    assert found == pytest.approx(expected)
    assert frame_nvt.smallest_a([dimer("He2", 5.0).atoms]) == {}
    slab = Atoms("Cu", cell=[2.5, 9, 0], pbc=(True, True, False))
    assert frame_nvt.smallest_a([slab]) == pytest.approx({(29, 29): 2.5})


def test_a_pair_that_the_data_have_not_is_held_to_four_angstrom() -> None:
    assert frame_nvt.smallest_ratio({(1, 1): 1.0, (1, 8): 0.9}, {(1, 1): 0.8, (1, 8): 1.0}) == 0.9
    assert frame_nvt.smallest_ratio({(8, 8): 1.0}, {(1, 1): 0.8}) == 0.25
    assert frame_nvt.smallest_ratio({}, {(1, 1): 0.8}) == 1.0


def test_at_rest_where_the_data_are_the_ratio_is_one(tmp_path: Path) -> None:
    frames = [dimer("N2", 1.1).atoms]
    springs = PairSprings(20.0, 1.1)
    found = frame_nvt.measure(on(springs, frames, kept(tmp_path, *frames), **COLD)).values
    assert found == pytest.approx({RATIO: 1.0, DONE: 1.0}, abs=1e-3)


def test_atoms_that_draw_each_other_together_come_nearer_by_as_much(tmp_path: Path) -> None:
    """From rest at 1.1 Å a spring of 1.0 Å swings to 0.9 Å within half a period of 24 fs."""
    frames = [dimer("H2", 1.1).atoms]
    settings = {**COLD, "duration_ps": 0.03, "timestep_fs": 0.1}
    data = kept(tmp_path, dimer("H2", 1.0).atoms, dimer("H2", 1.2).atoms)
    found = frame_nvt.measure(on(PairSprings(30.0, 1.0), frames, data, **settings))
    assert found.values[RATIO] == pytest.approx(0.9, abs=1e-3)
    assert found.curves["frame_nvt_distance_ratio"][0] == pytest.approx(1.1)
    assert found.curves["frame_nvt_time_ps"][-1] == pytest.approx(0.03)


@pytest.mark.parametrize("broken", [math.nan, math.inf, 1e4])
def test_dynamics_that_break_say_where_and_how_far_they_came(broken: float) -> None:
    two = [dimer("N2", 1.0).atoms, dimer("O2", 1.0).atoms]
    springs = PairSprings(20.0, 1.0, breaks_after=20, broken=broken)
    found = frame_nvt.measure(on(springs, two, duration_ps=0.02))
    assert 0 < found.values[DONE] < 0.5 and RATIO not in found.values
    assert found.failures[RATIO].startswith("test frame ") and "broke at step" in found.failures[RATIO]


def test_the_pressure_is_that_of_the_stress_beside_the_labels() -> None:
    copper = bulk("Cu", a=3.5, cubic=True)
    copper.calc = EMT()
    stress = copper.get_stress(voigt=False)
    copper.calc = None
    copper.info["REF_stress"] = 2 * stress.ravel()
    bench = on(EMT(), [copper], **COLD)
    found = frame_nvt.measure(bench).values
    pressure_gpa = -float(np.trace(stress)) / 3 / units.GPa
    assert pressure_gpa > 5
    assert found["frame_nvt_pressure_gpa"] == pytest.approx(pressure_gpa, rel=1e-3)
    assert found["frame_nvt_label_pressure_gpa"] == pytest.approx(2 * pressure_gpa)
    pressures = frame_nvt.GROUP.metrics[2:]
    assert all(metric.owed(bench) for metric in pressures)
    assert not any(metric.owed(on(EMT(), [copper, dimer().atoms])) for metric in pressures)


def test_the_dynamics_are_those_of_the_temperature() -> None:
    """The hotter, the nearer two atoms come."""
    frames = [dimer("N2", 1.1).atoms]
    hot, cold = (
        frame_nvt.measure(on(PairSprings(60.0, 1.1), frames, duration_ps=0.05, temperature_k=kelvin)).values
        for kelvin in (2000, 20)
    )
    assert hot[RATIO] < cold[RATIO]
