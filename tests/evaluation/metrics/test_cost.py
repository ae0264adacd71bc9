import os
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
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
    wide = 0.4 / found["timing_cpu_share"]  # the wider, the busier the machine
    assert found["relative_cost"] == pytest.approx(1.0, abs=wide)
    assert 0 <= found["relative_cost_noise"] < wide
    assert found["throughput_atom_steps_per_s"] > 10
    assert 0 < found["timing_cpu_share"] <= 1


def test_the_noise_of_a_median_is_its_scatter_over_repetitions() -> None:
    rng = np.random.default_rng(3)
    drawn = rng.normal(1.0, 0.1, (4000, 25))
    told = np.median([throughput.noise_of_median(each) for each in drawn])
    assert told == pytest.approx(np.median(drawn, axis=1).std(), rel=0.1)
    of_ten = throughput.noise_of_median(10 * drawn[0])
    assert of_ten == pytest.approx(10 * throughput.noise_of_median(drawn[0]))
    assert throughput.noise_of_median(np.array([2.0, 2.0, 99.0])) == 0.0


@pytest.mark.parametrize("share", [1.0, 0.5, 0.25])
def test_the_cpu_share_is_the_cpu_time_over_the_wall_time_of_all_calls(share: float) -> None:
    """Clocks of a thread that runs for 2 s of CPU time a call, and one that another has run beside it."""
    calls = [
        throughput.timed(lambda: None, count(step=2 / share).__next__, count(step=2.0).__next__),
        throughput.timed(lambda: None, count(step=2.0).__next__, count(step=2.0).__next__),
    ]
    assert [call.wall_s for call in calls] == pytest.approx([2 / share, 2])
    assert throughput.cpu_share(calls[:1]) == pytest.approx(share)
    assert throughput.cpu_share(calls) == pytest.approx(4 / (2 / share + 2))
    assert throughput.cpu_share([throughput.Timed(1.0, 1.001)]) == 1, "clocks tick apart"


_SPIN = "import os; os.sched_setaffinity(0, {%d}); print(flush=True)\nwhile True: pass"


@pytest.fixture
def starved() -> Iterator[None]:
    """Two others that never rest on the one core that this process may use."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system pins no process to a core")
    allowed = os.sched_getaffinity(0)
    core = min(allowed)
    others = [
        subprocess.Popen([sys.executable, "-c", _SPIN % core], stdout=subprocess.PIPE) for _ in range(2)
    ]
    try:
        for other in others:
            assert other.stdout is not None and other.stdout.readline()
        os.sched_setaffinity(0, {core})
        yield
    finally:
        os.sched_setaffinity(0, allowed)
        for other in others:
            other.kill()
            other.communicate()


def test_who_shares_its_core_with_two_others_has_a_small_share(starved: None) -> None:
    def work() -> None:
        end = time.perf_counter() + 1.5
        while time.perf_counter() < end:
            pass

    assert throughput.cpu_share([throughput.timed(work)]) < 0.7  # a third; a half where sessions share


def test_who_waits_for_something_else_than_a_core_has_none() -> None:
    assert throughput.cpu_share([throughput.timed(lambda: time.sleep(0.3))]) < 0.3


def test_on_a_gpu_no_share_is_owed() -> None:
    (share,) = [metric for metric in throughput.GROUP.metrics if metric.name == "timing_cpu_share"]
    model = pinned_reference(29)
    bench = Bench(model.calculator(), EvaluationSettings(), model)
    assert share.owed(bench) and share.better == "none"
    model.device = "cuda:0"
    assert not share.owed(bench)


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
