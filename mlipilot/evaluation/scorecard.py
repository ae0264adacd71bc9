"""The scorecard: hard gates first, then one objective; pure arithmetic over a metrics file.

Gate violations are measured in natural-log units, ln(value/limit), so that a metric that is a hundred
times too large does not drown the others; a metric that could not be computed counts as a fixed, large
violation and is never a missing value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationInfo, field_validator, model_validator

from mlipilot.evaluation.catalog import CATALOG, metrics_of
from mlipilot.evaluation.metric_settings import EvaluationSettings
from mlipilot.evaluation.results import MetricsFile
from mlipilot.nearness import did_you_mean
from mlipilot.yaml_io import load_yaml_model

Profile = Literal["smoke", "full"]


def _known_metric(name: str) -> str:
    if name not in CATALOG:
        raise ValueError("; ".join(filter(None, ["unknown metric", did_you_mean(name, CATALOG)])))
    return name


class _Strict(BaseModel, extra="forbid", frozen=True):
    """It has the keys that are named here and no other, and stays as it was read."""


class Gate(_Strict):
    """A hard bound on one metric: at most `max`, or at least `min` (exactly one is given)."""

    metric: str
    max: float | None = Field(default=None, gt=0)
    min: float | None = Field(default=None, gt=0)
    why: str = ""

    _metric = field_validator("metric")(_known_metric)

    @model_validator(mode="after")
    def _one_bound(self) -> Gate:
        if (self.max is None) == (self.min is None):
            raise ValueError("give exactly one of 'max' and 'min'")
        return self

    @property
    def text(self) -> str:
        """The bound as people write it, for tables."""
        return f"≤ {self.max:g}" if self.max is not None else f"≥ {self.min:g}"

    def violation(self, value: float | None, failed: float) -> float:
        """How far `value` lies outside, in ln units; 0 inside; `failed` at most, and for no value."""
        if value is None or not math.isfinite(value):
            return failed
        if self.max is not None:
            return min(max(0.0, math.log(max(value, 1e-300) / self.max)), failed)
        assert self.min is not None  # noqa: S101 - the validator above saw to it
        return failed if value <= 0 else min(max(0.0, math.log(self.min / value)), failed)


class ObjectiveTerm(_Strict):
    """One factor of the objective: (value / scale) ** weight."""

    metric: str
    weight: float = Field(gt=0)
    scale: float = Field(gt=0)

    _metric = field_validator("metric")(_known_metric)


class Objective(_Strict):
    """Weighted geometric mean of metrics over their scales, to be minimised; without a unit."""

    terms: list[ObjectiveTerm] = Field(min_length=1)

    def log_value(self, values: Mapping[str, float | None]) -> float | None:
        """ln of the objective, or None when a term's metric has no positive value."""
        total = 0.0
        for term in self.terms:
            value = values.get(term.metric)
            if value is None or not math.isfinite(value) or value <= 0:
                return None
            total += term.weight * math.log(value / term.scale)
        return total / sum(term.weight for term in self.terms)


class AcceptRule(_Strict):
    """When a gain counts: beyond the noise of repeated seeds at `confidence`, and at least `min_gain`."""

    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    min_gain: float = Field(default=0.02, ge=0, lt=1)
    failed_gate_violation: float = Field(default=5.0, gt=0)


class ProfileOverride(_Strict):
    """What one profile changes: the measuring settings only, never a gate."""

    settings: dict[str, Any] = Field(default_factory=dict)


class Scorecard(_Strict):
    """What a model is judged by. `settings` say how each metric is measured."""

    name: str
    dataset: str
    settings: EvaluationSettings
    gates: list[Gate] = Field(min_length=1)
    objective: Objective
    accept: AcceptRule = AcceptRule()
    profiles: dict[Profile, ProfileOverride] = Field(default_factory=dict)

    @field_validator("gates")
    @classmethod
    def _gates_make_sense(cls, gates: list[Gate], info: ValidationInfo) -> list[Gate]:
        _check_system([gate.metric for gate in gates], info)
        return gates

    @field_validator("objective")
    @classmethod
    def _objective_makes_sense(cls, objective: Objective, info: ValidationInfo) -> Objective:
        _check_system([term.metric for term in objective.terms], info)
        return objective

    @model_validator(mode="after")
    def _profiles_are_valid(self) -> Scorecard:
        for profile in self.profiles:
            if self.settings_for(profile).system != self.settings.system:
                raise ValueError(f"the profile {profile} may not change 'system', which decides the gates")
        return self

    @property
    def metrics(self) -> list[str]:
        """The metrics that a verdict needs, each once."""
        terms = [term.metric for term in self.objective.terms]
        return list(dict.fromkeys([*(gate.metric for gate in self.gates), *terms]))

    def settings_for(self, profile: Profile) -> EvaluationSettings:
        """The measuring settings of a profile: the common ones with its overrides merged in."""
        override = self.profiles.get(profile)
        base = self.settings.model_dump(exclude_unset=True)
        return EvaluationSettings.model_validate(merge(base, override.settings if override else {}))


def _check_system(metrics: list[str], info: ValidationInfo) -> None:
    settings = info.data.get("settings")
    if isinstance(settings, EvaluationSettings):  # else they were refused already
        strange = [name for name in metrics if name not in metrics_of(settings.system)]
        if strange:
            raise ValueError(f"{strange[0]} does not exist where settings.system is {settings.system!r}")


class GateResult(_Strict):
    """One gate applied to one model."""

    metric: str
    bound: str
    value: float | None
    passed: bool
    violation: float
    reason: str | None = None


class Score(_Strict):
    """What the scorecard says of one model (one seed)."""

    feasible: bool
    violation: float
    log_objective: float | None
    gates: list[GateResult]


def merge(base: dict[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `override` laid over it, mapping by mapping."""
    merged = dict(base)
    for key, value in override.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged


def load_scorecard(path: Path) -> Scorecard:
    """The scorecard in `path`. Raises InputError naming line, value and mend."""
    return load_yaml_model(path, Scorecard)


def score(card: Scorecard, measured: MetricsFile) -> Score:
    """Apply gates and objective to a `metrics.json`. A refused hand-over fails every gate."""
    values = measured.values
    gates = []
    for gate in card.gates:
        value, entry = values.get(gate.metric), measured.metrics.get(gate.metric)
        violation = gate.violation(value, card.accept.failed_gate_violation)
        reason = None
        if value is None:
            reason = (entry and entry.reason) or measured.refused or "not measured"
        gates.append(
            GateResult(
                metric=gate.metric,
                bound=gate.text,
                value=value,
                passed=violation == 0,
                violation=violation,
                reason=reason,
            )
        )
    return Score(
        feasible=all(gate.passed for gate in gates),
        violation=sum(gate.violation for gate in gates),
        log_objective=card.objective.log_value(values),
        gates=gates,
    )
