"""What a measurement gives, and how it is written down: a number, or a failure with its reason."""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlipilot.evaluation.catalog import CATALOG

_MAX_REASON = 300


class MeasurementError(Exception):
    """A metric cannot be computed for this model; the text is its reason in the metrics file."""


@dataclass(frozen=True)
class Measurement:
    """Numbers by metric name, failures by metric name, and curves for plots."""

    values: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    curves: dict[str, NDArray[np.float64]] = field(default_factory=dict)


def printable(text: str) -> str:
    """`text` on one line without control or format characters, cut to a readable length."""
    kept = "".join(
        " " if char.isspace() else char
        for char in text
        if char.isspace() or unicodedata.category(char)[0] != "C"
    )
    line = " ".join(kept.split())
    return line if len(line) <= _MAX_REASON else line[: _MAX_REASON - 3] + "..."


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
        "reason": printable(reason) if reason else None,
        "cost_s": round(cost_s, 4),
    }
