"""Two measurements of one recipe, the run's and the reproduction's, metric by metric.

*equal*: on every reproduced seed the very same number (or the same failure).

*within noise*: the means x̄ over the n reproduced seeds differ by no more than

    k · s · |x̄_recorded| · sqrt(2 / n),   k = max(3, t(0.975, ν))

s is the relative scatter from seed to seed, pooled over the lineage's candidates c, whose means are x̄_c:

    s² = Σ_c Σ_i (x_ci / |x̄_c| − 1)² / ν,   ν = Σ_c (n_c − 1)

A reproduction whose rounding has gone its own way is at worst like another set of seeds. Student's quantile t
lets at least 95 in 100 metrics of such a one pass however few the seeds; with many, k = 3 lets 997 in 1000,
since some thirty metrics are judged together. Where a lineage has one seed the scatter is not known, and a
quarter of the recorded value stands in for the bound. Differences below 1e-6 of a metric's unit are rounding.

*differs*: all else. Times and memory are the machine's, not the model's: shown, *not judged*.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mlipilot.controller.accept import Noise, mean, pooled_noise, student_t
from mlipilot.evaluation.catalog import CATALOG, OF_THE_MACHINE

Agreement = Literal["equal", "within noise", "differs", "not judged"]
Values = Mapping[str, float | None]  # of one seed, by metric; None where the metric failed

ONE_SEED_TOLERANCE = 0.25
ROUNDING = 1e-6


@dataclass(frozen=True)
class Comparison:
    """One metric of the reproduced seeds, in their order; None where it failed."""

    name: str
    unit: str
    recorded: list[float | None]
    here: list[float | None]
    allowed: float | None
    """The largest difference of the means that noise explains."""
    agreement: Agreement

    @property
    def recorded_mean(self) -> float | None:
        """Over the seeds that were measured, in the run."""
        return _mean(self.recorded)

    @property
    def here_mean(self) -> float | None:
        """Over the seeds that were measured, here."""
        return _mean(self.here)

    @property
    def difference(self) -> float | None:
        """Of the two means; None where one is missing."""
        old, new = self.recorded_mean, self.here_mean
        return None if old is None or new is None else new - old


def compare_metrics(
    recorded: Sequence[Values], here: Sequence[Values], candidates: Sequence[Sequence[Values]]
) -> list[Comparison]:
    """Every metric of the reproduced seeds; `candidates` are all seeds of each candidate of the lineage."""
    found = {name for seed in [*recorded, *here] for name in seed}
    names = [*(name for name in CATALOG if name in found), *sorted(found - CATALOG.keys())]
    return [
        _compare(
            name,
            [seed.get(name) for seed in recorded],
            [seed.get(name) for seed in here],
            relative_noise([[seed.get(name) for seed in seeds] for seeds in candidates]),
        )
        for name in names
    ]


def relative_noise(candidates: Sequence[Sequence[float | None]]) -> Noise:
    """The scatter of one metric over seeds as a fraction of its mean, pooled over candidates."""
    groups = [measured for seeds in candidates if (measured := _measured(seeds)) and mean(measured)]
    return pooled_noise([[x / abs(mean(xs)) for x in xs] for xs in groups])


def _compare(name: str, recorded: list[float | None], here: list[float | None], noise: Noise) -> Comparison:
    unit = CATALOG[name].unit if name in CATALOG else ""
    size, n = _mean(recorded), len(_measured(recorded))
    allowed = None if size is None else max(_relative_bound(noise, n) * abs(size), ROUNDING)
    agreement: Agreement
    if name in OF_THE_MACHINE:
        agreement = "not judged"
    elif recorded == here:
        agreement = "equal"
    else:
        agreement = "within noise" if _agree(recorded, here, allowed) else "differs"
    return Comparison(name, unit, recorded, here, allowed, agreement)


def _relative_bound(noise: Noise, seeds: int) -> float:
    if noise.degrees_of_freedom == 0:
        return ONE_SEED_TOLERANCE
    k = max(3.0, student_t(0.975, noise.degrees_of_freedom))
    return k * noise.sd * math.sqrt(2 / seeds)


def _agree(recorded: list[float | None], here: list[float | None], allowed: float | None) -> bool:
    """Whether the same seeds were measured and their means are as near as noise allows."""
    old, new = _mean(recorded), _mean(here)
    same_seeds = [x is None for x in recorded] == [x is None for x in here]
    if not same_seeds or old is None or new is None or allowed is None:
        return False
    return abs(new - old) <= allowed


def _measured(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _mean(values: Sequence[float | None]) -> float | None:
    measured = _measured(values)
    return mean(measured) if measured else None
