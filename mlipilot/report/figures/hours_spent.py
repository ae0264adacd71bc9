"""What lineages had spent when each of their iterations was judged: the other axis of convergence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from mlipilot.report.view import LineageView

_HOUR_S = 3600.0


@dataclass(frozen=True)
class Spending:
    """Hours of jobs of the search, the baseline's included, up to and with each iteration."""

    unit: str
    """GPU-hours where every lineage has used GPUs, else CPU-hours."""
    hours: dict[int, list[float]]
    """By lineage and iteration."""

    @property
    def largest(self) -> float:
        """The most that any lineage has spent."""
        return max((max(hours, default=0.0) for hours in self.hours.values()), default=0.0)


def spending(views: Sequence[LineageView]) -> Spending:
    """What the lineages spent on candidates; the confirmation and the sealed check follow the search."""
    is_gpu = all(any(i.cost.gpu_s for i in view.iterations) for view in views)
    hours = {
        view.lineage.number: list(
            accumulate((i.cost.gpu_s if is_gpu else i.cost.cpu_s) / _HOUR_S for i in view.iterations)
        )
        for view in views
    }
    return Spending("GPU-hours" if is_gpu else "CPU-hours", hours)
