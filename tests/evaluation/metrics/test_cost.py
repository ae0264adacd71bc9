from pathlib import Path

import numpy as np
import pytest

from mlipilot.evaluation.bench import Bench
from mlipilot.evaluation.crystal import reference_calculator
from mlipilot.evaluation.families.mace_rebuilding import pinned_reference, rebuild
from mlipilot.evaluation.metric_settings import EvaluationSettings
from mlipilot.evaluation.metrics import size, throughput
from mlipilot.evaluation.metrics_file import MeasurementError


@pytest.mark.slow  # it measures time, and the unit suite fills the machine
def test_the_pinned_reference_costs_as_much_as_itself() -> None:
    settings = EvaluationSettings.model_validate({"throughput": {"repeats": 2, "rounds": 15}})
    model = pinned_reference(29)
    found = throughput.measure(Bench(model.calculator(), settings, model)).values
    assert found["relative_cost"] == pytest.approx(1.0, abs=0.4)  # on a busy machine
    assert 0 <= found["relative_cost_noise"] < 0.4
    assert found["throughput_atom_steps_per_s"] > 10


def test_the_noise_of_a_median_is_its_scatter_over_repetitions() -> None:
    rng = np.random.default_rng(3)
    drawn = rng.normal(1.0, 0.1, (4000, 25))
    told = np.median([throughput.noise_of_median(each) for each in drawn])
    assert told == pytest.approx(np.median(drawn, axis=1).std(), rel=0.1)
    of_ten = throughput.noise_of_median(10 * drawn[0])
    assert of_ten == pytest.approx(10 * throughput.noise_of_median(drawn[0]))
    assert throughput.noise_of_median(np.array([2.0, 2.0, 99.0])) == 0.0


def test_size_counts_parameters_and_finds_some_memory(pristine_handover: Path) -> None:
    model = rebuild(pristine_handover)
    found = size.measure(Bench(model.calculator(), EvaluationSettings(), model)).values
    assert found["parameter_count"] == model.parameter_count
    assert 0 <= found["peak_memory_mib"] < 2000


@pytest.mark.parametrize("measure", [size.measure, throughput.measure])
def test_a_calculator_that_is_no_network_has_neither(measure: object, settings: EvaluationSettings) -> None:
    assert callable(measure)
    with pytest.raises(MeasurementError):
        measure(Bench(reference_calculator(settings.crystal), settings))
