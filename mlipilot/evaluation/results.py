"""What a measurement gives, and how it is written down: a number, or a failure with its reason."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlipilot.evaluation.catalog import CATALOG
from mlipilot.untrusted import one_line

MAX_REASON = 300
REFUSED = 3
"""The evaluator's exit status for a hand-over that is none."""


class MeasurementError(Exception):
    """A metric cannot be computed for this model; the text is its reason in the metrics file."""


@dataclass(frozen=True)
class Measurement:
    """Numbers by metric name, failures by metric name, and curves for plots."""

    values: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    curves: dict[str, NDArray[np.float64]] = field(default_factory=dict)


def entry(name: str, measurement: Measurement, cost_s: float) -> dict[str, Any]:
    """One entry of `metrics.json`. NaN, infinity and absence are failures, never values."""
    value = measurement.values.get(name)
    reason = measurement.failures.get(name)
    if reason is None and value is None:
        reason = "the measurement gave no value"
    elif reason is None and value is not None and not math.isfinite(value):
        reason = f"the value is {float(value)}, not a finite number"
    return {
        "value": None if reason else value,
        "unit": CATALOG[name].unit,
        "status": "failed" if reason else "ok",
        "reason": one_line(reason, MAX_REASON) if reason else None,
        "cost_s": round(cost_s, 4),
    }
