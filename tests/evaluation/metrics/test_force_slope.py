"""Forces of EMT, softened by a known factor."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT

from mlipilot.evaluation.bench import Bench, Split
from mlipilot.evaluation.families import Prediction
from mlipilot.evaluation.metric_settings import EvaluationSettings
from mlipilot.evaluation.metrics import accuracy, force_slope
from mlipilot.evaluation.metrics_file import MeasurementError


class Scaled(Bench):
    """EMT's forces times a factor, plus what is asked for."""

    factor, plus = 1.0, 0.0
    calls = 0

    def predict(self, structures: Sequence[Atoms]) -> list[Prediction]:
        self.calls += 1
        return [
            found._replace(forces_ev_per_a=self.factor * found.forces_ev_per_a + self.plus)
            for found in super().predict(structures)
        ]


def on(data: Path, split: Split = "test", **changes: Any) -> Scaled:
    bench = Scaled(EMT(), EvaluationSettings(system="structures"), data=data, split=split)
    vars(bench).update(changes)
    return bench


@pytest.mark.parametrize("factor", [1.0, 0.8, 1.3, 0.0, -1.0])
def test_the_slope_is_the_factor(data_dir: Path, factor: float) -> None:
    found = force_slope.measure(on(data_dir, factor=factor)).values
    expected = {"force_slope": factor, "force_slope_error": abs(factor - 1)}
    assert found == pytest.approx(expected, abs=1e-6)


def test_what_all_forces_have_in_common_does_not_change_it(data_dir: Path) -> None:
    assert force_slope.measure(on(data_dir, plus=0.5)).values["force_slope"] == pytest.approx(1, abs=1e-6)


def test_the_frames_are_those_of_the_split_and_predicted_once(data_dir: Path) -> None:
    bench = on(data_dir, "sealed", factor=0.9)
    accuracy.measure(bench)
    assert force_slope.measure(bench).values["force_slope"] == pytest.approx(0.9, abs=1e-6)
    assert bench.calls == 1
    labels, _ = accuracy.compared(bench)
    assert labels.forces_ev_per_a.shape == (2 * 4, 3)  # two sealed cells


def test_forces_that_are_no_numbers_or_labels_without_any_are_reasons(data_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(MeasurementError, match="a force is not a finite number"):
        force_slope.measure(on(data_dir, plus=np.nan))
    (tmp_path / "test").mkdir()
    still = Atoms("Cu2", positions=[[0, 0, 0], [0, 0, 2.3]], info={"REF_energy": 0.0})
    still.new_array("REF_forces", np.zeros((2, 3)))
    ase.io.write(tmp_path / "test" / "test.xyz", still, format="extxyz")
    with pytest.raises(MeasurementError, match="every force of the labels is zero"):
        force_slope.measure(on(tmp_path))
