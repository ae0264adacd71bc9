"""Speed: atom·steps/s, and the cost over that of a pinned reference MACE, a pure number.

One step is one evaluation of energy, forces and stress with a new neighbour list on one thread. Model and
reference take turns on the same cell, or on one batch of frames; `relative_cost` is the median over rounds of
t_model / t_reference, so that another machine, or a busy one, changes it little. The reference is built in
code and never trained (its cost does not depend on its weights).

`relative_cost_noise` is the standard error of that median, 1.253 · 1.483 · MAD / √rounds, MAD the median
absolute deviation from it (Rousseeuw and Croux, J. Am. Stat. Assoc. 88, 1273 (1993)): a gate on the cost
fails only beyond it.

`timing_cpu_share` tells whether the allocation was idle: the CPU time of the thread that makes the timed
calls over their wall time, all rounds together. 1: it had a core all the while; 0.5: others had it half of
the time, and the times are as much theirs. Below 0.9 the report says so; nothing is judged by it. It does not
see who shares a core's caches, memory or second hardware thread. On a GPU, for which a thread waits or spins
as the driver likes, it is not measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from pydantic import Field

from mlipilot.evaluation.declaration import Group, Metric, Section, Settings
from mlipilot.evaluation.lazily import Array, Bench, np
from mlipilot.evaluation.metrics_file import Measurement, MeasurementError

_OF_MEDIAN, _OF_MAD = 1.253, 1.483
"""Of a normal distribution: the median's standard error over the mean's; the standard deviation over MAD."""


class Timed(NamedTuple):
    """How long a call took."""

    wall_s: float
    cpu_s: float
    """CPU time of the thread that made it."""


class ThroughputSettings(Settings):
    """Model and pinned reference model timed in turns on the same rattled cell, or on a batch of frames."""

    repeats: int = Field(default=3, ge=1, le=8)
    rounds: int = Field(default=5, ge=3, le=1000)
    max_relative_cost: float = Field(default=60.0, gt=1)
    """A model dearer than this is measured no further: its other metrics fail with that reason."""


def measure(bench: Bench) -> Measurement:
    """Throughput and relative cost on a supercell or a batch of frames, the reference of their elements.

    Raises MeasurementError for what is no network.
    """
    from mlipilot.evaluation.families.mace_rebuilding import pinned_reference

    model, settings = bench.model, bench.settings.section(ThroughputSettings)
    if model is None:
        raise MeasurementError("only a network has a throughput that compares")
    frames = bench.load(settings.repeats)
    elements = {int(number) for atoms in frames for number in atoms.numbers}
    reference = pinned_reference(*sorted(elements), device=model.device)
    for _ in range(2):  # the first calls compile
        model.predict(frames, len(frames))
        reference.predict(frames, len(frames))
    calls = [partial(one.predict, frames, len(frames)) for one in (model, reference)]
    rounds = [[timed(call) for call in calls] for _ in range(settings.rounds)]
    times_s = np.array([[each.wall_s for each in of_round] for of_round in rounds])
    ratios = times_s[:, 0] / times_s[:, 1]
    values = {
        "throughput_atom_steps_per_s": sum(map(len, frames)) / float(np.median(times_s[:, 0])),
        "relative_cost": float(np.median(ratios)),
        "relative_cost_noise": noise_of_median(ratios),
    }
    if _runs_on_cpu(bench):
        values["timing_cpu_share"] = cpu_share([each for of_round in rounds for each in of_round])
    return Measurement(values)


def timed(
    call: Callable[[], object],
    clock: Callable[[], float] = time.perf_counter,
    cpu_clock: Callable[[], float] = time.thread_time,
) -> Timed:
    """What a call takes; a prediction copies its results to the host, and so waits for a GPU."""
    start, cpu_start = clock(), cpu_clock()
    call()
    return Timed(clock() - start, cpu_clock() - cpu_start)


def cpu_share(calls: Sequence[Timed]) -> float:
    """The share of the calls' wall time for which their thread had a core, 0 to 1."""
    return min(1.0, sum(each.cpu_s for each in calls) / sum(each.wall_s for each in calls))


def _runs_on_cpu(bench: Bench) -> bool:
    return bench.model is None or not bench.model.device.startswith("cuda")


def noise_of_median(values: Array) -> float:
    """The standard error of the median of values (n,) that outliers are among, in their unit."""
    deviations = np.abs(values - np.median(values))
    return float(_OF_MEDIAN * _OF_MAD * np.median(deviations) / np.sqrt(len(values)))


def too_dear(bench: Bench, found: Measurement) -> str:
    """What is said of the other metrics of a model that costs too much; empty for another."""
    ratio = found.values.get("relative_cost", 0.0)
    allowed = bench.settings.section(ThroughputSettings).max_relative_cost
    return f"not measured: the model costs {ratio:.3g} times the reference" if ratio > allowed else ""


GROUP = Group(
    name="throughput",
    place=170,
    metrics=(
        Metric("throughput_atom_steps_per_s", "atom·steps/s", "higher", "throughput", of_the_machine=True),
        Metric(
            *("relative_cost", "1", "lower", "relative cost"),
            of_the_machine=True,
            noise="relative_cost_noise",
        ),
        Metric("relative_cost_noise", "1", "none", "noise of the relative cost", of_the_machine=True),
        Metric(
            *("timing_cpu_share", "1", "none", "share of the timing for which its thread had a core"),
            owed=_runs_on_cpu,
            of_the_machine=True,
            idle_above=0.9,
        ),
    ),
    measure=measure,
    sections=(Section("throughput", ThroughputSettings),),
    early=True,
    stops=too_dear,
)
