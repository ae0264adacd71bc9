"""Energy over volume: of EMT, and of curves that are known."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT

from mlipilot.evaluation.bench import Bench
from mlipilot.evaluation.families import Prediction
from mlipilot.evaluation.metric_settings import EvaluationSettings
from mlipilot.evaluation.metrics import frame_volumes
from mlipilot.evaluation.metrics_file import MeasurementError

EXTRA, ROUGH = "frame_volume_extra_minima", "frame_volume_roughness_mev_per_atom"
SETTINGS = EvaluationSettings(system="structures")
COPPER = bulk("Cu", cubic=True)


class OfVolume(Bench):
    """An energy in eV for each atom that the volume decides, over that of copper."""

    energy_ev: Callable[[float], float]

    def predict(self, structures: Sequence[Atoms]) -> list[Prediction]:
        found = [
            len(atoms) * self.energy_ev(atoms.get_volume() / len(atoms) / (COPPER.get_volume() / 4))
            for atoms in structures
        ]
        return [
            Prediction(energy, np.zeros((len(atoms), 3)), np.zeros(6))
            for energy, atoms in zip(found, structures, strict=True)
        ]


def measured(energy_ev: Callable[[float], float], frames: Sequence[Atoms] = (COPPER,)) -> dict[str, float]:
    bench = OfVolume(Calculator(), SETTINGS, frames=frames)
    bench.energy_ev = energy_ev
    return frame_volumes.measure(bench).values


def test_copper_is_smooth() -> None:
    found = frame_volumes.measure(Bench(EMT(), SETTINGS, frames=[COPPER, COPPER.repeat((2, 1, 1))]))
    assert found.values[EXTRA] == 0
    assert 1e-3 < found.values[ROUGH] < 0.1  # of the steps alone
    curve = found.curves["frame_volume_0_mev_per_atom"]
    assert curve.min() == 0 and curve.argmin() in (9, 10)
    assert found.curves["frame_volume_0_factor"][10] == pytest.approx(1)
    np.testing.assert_allclose(curve, found.curves["frame_volume_1_mev_per_atom"], atol=1e-6)


@pytest.mark.parametrize(
    ("energy_ev", "extra"),
    [
        (lambda x: (x - 1) ** 2, 0),
        (lambda x: x, 0),  # of a cell under pressure: the minimum is elsewhere
        (lambda x: 0.0, 0),
        (lambda x: ((x - 0.9) * (x - 1.1)) ** 2, 1),
        (lambda x: -((x - 1) ** 2), 1),  # lowest at either end
        (lambda x: math.cos(2 * math.pi * x / 0.15), 2),
    ],
    ids=["one", "none", "nothing", "two", "hill", "three"],
)
def test_minima_beside_the_first_are_counted(energy_ev: Callable[[float], float], extra: int) -> None:
    assert measured(energy_ev)[EXTRA] == extra


def test_a_kink_has_its_roughness_for_each_atom() -> None:
    """A slope that turns by k at a point of the path: k h / 3, h the step of 0.02."""
    for frame in (COPPER, COPPER.repeat((1, 1, 3))):
        assert measured(lambda x: 0.3 * abs(x - 1), [frame])[ROUGH] == pytest.approx(600 * 0.02 / 3)


def test_the_worst_frame_counts_and_what_is_not_periodic_does_not() -> None:
    wide = COPPER.copy()
    wide.set_cell(COPPER.cell.array * 1.5 ** (1 / 3), scale_atoms=True)  # 1.2 to 1.8 of copper's
    both = measured(lambda x: max(0.0, x - 1.5), [COPPER, wide, molecule("H2O")])
    assert both[ROUGH] == pytest.approx(1000 * 0.03 / 3)  # the step is half as wide again
    assert both == measured(lambda x: max(0.0, x - 1.5), [wide])


def test_only_periodic_frames_owe_it() -> None:
    slab = COPPER.copy()
    slab.pbc = (True, True, False)
    for frames, owed in (([COPPER], True), ([slab, molecule("H2O")], False), ([slab, COPPER], True)):
        bench = Bench(EMT(), SETTINGS, frames=frames)
        assert {metric.owed(bench) for metric in frame_volumes.GROUP.metrics} == {owed}


def test_an_energy_that_is_no_number_is_a_reason() -> None:
    with pytest.raises(MeasurementError, match="an energy is not a finite number"):
        measured(lambda x: math.nan if x > 1 else x)
