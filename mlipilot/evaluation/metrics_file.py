"""What a measurement gives, and the schema of `metrics.json`, for who writes it and all who read it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, model_validator

from mlipilot.untrusted import one_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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


def percent_error(value: float, truth: float) -> float:
    """100 |value − truth| / |truth|."""
    return 100 * abs(value - truth) / abs(truth)


def reason_line(text: str) -> str:
    """A reason on one short line: a hostile model may have had a part in it."""
    return one_line(text, MAX_REASON)


Line = Annotated[str, AfterValidator(reason_line)]


class Entry(BaseModel, allow_inf_nan=False, strict=True):
    """One metric: a number, or a failure with its reason."""

    value: float | None
    unit: Line = ""
    status: Literal["ok", "failed"]
    reason: Line | None = None
    cost_s: float | None = None
    """Wall time of the measurement that yielded it, and others with it."""

    @model_validator(mode="after")
    def _failed_is_no_number(self) -> Entry:
        self.value = self.value if self.status == "ok" else None
        return self


class ModelFacts(BaseModel, extra="allow", strict=True):
    """What the evaluator says of the model."""

    model_class: Line | None = None
    dtype: Line | None = None
    arguments: dict[str, Any] = Field(default_factory=dict)
    parameter_count: int | None = None
    weights_digest: Line | None = None


class MetricsFile(BaseModel, allow_inf_nan=False, strict=True):
    """The whole of `metrics.json`; a refused hand-over has no metrics, and says why in `refused`."""

    format: Literal["mlipilot-metrics/1"] = "mlipilot-metrics/1"
    split: Literal["test", "sealed"] | None = None
    profile: str | None = None
    scorecard_sha256: str | None = None
    device: str | None = None
    wall_s: float | None = None
    cpu_s: float | None = None
    versions: dict[Line, Line] = Field(default_factory=dict)
    """Of the software that measured."""
    refused: Line | None = None
    model: ModelFacts = ModelFacts()
    reference: dict[Literal["source", "settings_digest"], str] | None = None
    """Whether the true values of a crystal came from the "file" or were "computed", and by which settings."""
    metrics: dict[str, Entry] = Field(default_factory=dict)

    @property
    def values(self) -> dict[str, float | None]:
        """Numbers by metric name; None where the metric failed."""
        return {name: entry.value for name, entry in self.metrics.items()}


def entry(name: str, measurement: Measurement, cost_s: float) -> Entry:
    """One entry of `metrics.json`. NaN, infinity and absence are failures, never values."""
    from mlipilot.evaluation.catalog import CATALOG  # whose metrics import this module

    value = measurement.values.get(name)
    reason = measurement.failures.get(name)
    if reason is None and value is None:
        reason = "the measurement gave no value"
    elif reason is None and value is not None and not math.isfinite(value):
        reason = f"the value is {float(value)}, not a finite number"
    return Entry(
        value=value if reason is None else None,
        unit=CATALOG[name].unit,
        status="ok" if reason is None else "failed",
        reason=reason,
        cost_s=round(cost_s, 4),
    )
