import numpy as np
import pytest
from ase.calculators.emt import EMT

from mlipilot.errors import MlipilotError
from mlipilot.evaluation.bench import Bench
from mlipilot.evaluation.metric_settings import EvaluationSettings
from mlipilot.evaluation.metrics.hot_forces import CURVES, frames, measure, slope

from ..oracles import AgainstEmt, AlteredEmt

QUICK = {"hot_forces": {"frames": 3, "interval_ps": 0.04}}


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_forces_too_small_or_too_large_by_a_tenth(factor: float) -> None:
    bench = AgainstEmt(AlteredEmt(factor), **QUICK)
    found = measure(bench)
    truth = np.array(bench.truth("hot_forces_ev_per_a"))
    assert found.values["hot_force_slope_error"] == pytest.approx(0.1)
    assert found.values["hot_force_mae_mev_per_a"] == pytest.approx(100 * abs(truth).mean())
    assert [found.curves[name].shape for name in CURVES] == [(3 * 32, 3)] * 2
    np.testing.assert_array_equal(found.curves[CURVES[0]].ravel(), truth)


def test_errors_at_random_hardly_tilt_the_line(rng: np.random.Generator) -> None:
    truth = rng.normal(size=(4000, 3))
    assert slope(truth + rng.normal(0, 0.5, truth.shape), truth) == pytest.approx(1.0, abs=0.02)
    assert slope(-truth, truth) == -1


def test_frames_are_apart_hot_expanded_and_the_same_each_time() -> None:
    settings = EvaluationSettings.model_validate(QUICK)
    first, *others = found = frames(Bench(EMT(), settings))
    assert found == frames(Bench(EMT(), settings)) and len(found) == 3
    assert first.lattice_constant_a == pytest.approx(3.5898 * 1.03, abs=1e-3)
    assert first.temperature_k == 1500 and not np.any(first.velocities_a_per_ps)
    for other in others:
        moved = np.array(other.positions_a) - first.positions_a
        assert 0.1 < np.sqrt((moved**2).mean()) < 1.0


def test_a_reference_that_breaks_is_no_fault_of_the_model() -> None:
    settings = EvaluationSettings.model_validate(
        {"hot_forces": {"interval_ps": 0.01, "limits": {"max_force_ev_per_a": 0.1}}}
    )
    with pytest.raises(MlipilotError, match="the reference itself: the dynamics broke"):
        frames(Bench(EMT(), settings))
