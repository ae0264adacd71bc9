"""The scorecard: hard gates first, then one objective; pure arithmetic over a metrics file.

Gate violations are measured in natural-log units, ln(value/limit), so that a metric that is a hundred
times too large does not drown the others; a metric that could not be computed counts as a fixed, large
violation and is never a missing value. So does each gate of a model that says nothing (a constant does not
drift and obeys every law): where a gate on a metric that tells such a one fails, none of the others holds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationInfo, field_validator, model_validator

from mlipilot.errors import InputError
from mlipilot.evaluation.catalog import CATALOG, SPREAD, metrics_of
from mlipilot.evaluation.metric_settings import EvaluationSettings
from mlipilot.evaluation.metrics_file import MetricsFile
from mlipilot.nearness import did_you_mean
from mlipilot.yaml_io import line_of, load_yaml, load_yaml_model, validate

Profile = Literal["smoke", "full"]
_SURE_NOISE, _MOST_NOISE = 2.0, 0.1
"""Beyond how many standard errors a value is outside of a bound, and which share of the bound this may be."""


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
    def bound(self) -> float:
        """The one that is given."""
        bound = self.min if self.max is None else self.max
        assert bound is not None  # noqa: S101 - the validator above saw to it
        return bound

    @property
    def text(self) -> str:
        """The bound as people write it, for tables."""
        return f"≤ {self.max:g}" if self.max is not None else f"≥ {self.min:g}"

    def violation(self, value: float | None, failed: float, noise: float = 0.0) -> float:
        """How far `value` lies outside, in ln units; 0 inside; `failed` at most, and for no value.

        `noise`: the value's standard error. Within two of them from the bound, and a tenth of it, it counts
        as inside.
        """
        if value is None or not math.isfinite(value):
            return failed
        if abs(value - self.bound) <= min(_SURE_NOISE * noise, _MOST_NOISE * self.bound):
            return 0.0
        if self.max is not None:
            return min(max(0.0, math.log(max(value, 1e-300) / self.max)), failed)
        assert self.min is not None  # noqa: S101 - the validator above saw to it
        return failed if value <= 0 else min(max(0.0, math.log(self.min / value)), failed)


class ObjectiveTerm(_Strict):
    """One factor of the objective: (value / scale) ** weight."""

    metric: str
    weight: float = Field(gt=0)
    scale: float = Field(gt=0)
    floor: float | None = Field(default=None, gt=0)
    """How finely the metric is measured: what is below counts as this. Older cards have none."""

    _metric = field_validator("metric")(_known_metric)

    def log_value(self, value: float | None) -> float | None:
        """ln(value / scale), or None where there is no positive value."""
        if value is None or not math.isfinite(value):
            return None
        counted = max(value, self.floor or 0.0)
        return math.log(counted / self.scale) if counted > 0 else None


class Objective(_Strict):
    """Weighted geometric mean of metrics over their scales, to be minimised; without a unit."""

    terms: list[ObjectiveTerm] = Field(min_length=1)

    def log_terms(self, values: Mapping[str, float | None]) -> dict[str, float] | None:
        """What each metric contributes to ln of the objective, or None when one has no positive value."""
        total = sum(term.weight for term in self.terms)
        found: dict[str, float] = {}
        for term in self.terms:
            log = term.log_value(values.get(term.metric))
            if log is None:
                return None
            found[term.metric] = found.get(term.metric, 0.0) + term.weight * log / total
        return found


class AcceptRule(_Strict):
    """When a gain counts: beyond the noise of repeated seeds at `confidence`, and at least `min_gain`."""

    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    min_gain: float = Field(default=0.02, ge=0, lt=1)
    max_term_gain: float | None = Field(default=None, gt=0)
    """What one term gives to a gain at most, in ln units of the objective. Older cards have none."""
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
    terms: dict[str, float] = Field(default={}, exclude=True)
    """What each metric contributes to `log_objective`. Not in `verdict.json`: the metrics give it."""


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


def load_new_scorecard(path: Path) -> Scorecard:
    """The scorecard that a run is to begin with, which must have what older ones lack. Raises InputError.

    The copy that a run keeps is read by `load_scorecard`, as it was when the run began.
    """
    content = load_yaml(path)
    card = validate(content, Scorecard, path)
    for number, term in enumerate(card.objective.terms):
        if term.floor is None:
            raise InputError(
                f"the term {term.metric} has no floor",
                file=path,
                line=line_of(content, ("objective", "terms", number)),
                mend=f"add `floor:`, how finely {term.metric} is measured: what is below it is no gain",
            )
    if card.accept.max_term_gain is None:
        raise InputError(
            "accept has no max_term_gain",
            file=path,
            line=line_of(content, ("accept",)),
            mend="add it: what one term gives to a gain at most, in ln units of the objective, such as 0.5",
        )
    return card


def score(card: Scorecard, measured: MetricsFile) -> Score:
    """Apply gates and objective to a `metrics.json`. A refused hand-over fails every gate."""
    terms = card.objective.log_terms(measured.values)
    gates = _gates(card, measured)
    return Score(
        feasible=all(gate.passed for gate in gates),
        violation=sum(gate.violation for gate in gates),
        log_objective=None if terms is None else sum(terms.values()),
        gates=gates,
        terms=terms or {},
    )


def gates_on(card: Scorecard, measured: MetricsFile) -> list[GateResult]:
    """Those gates whose metrics a file has, such as one of the sealed split, each by itself."""
    asked = [gate for gate in card.gates if gate.metric in measured.metrics]
    return [_gate(gate, measured, card.accept.failed_gate_violation) for gate in asked]


def _gates(card: Scorecard, measured: MetricsFile) -> list[GateResult]:
    """Each gate by itself, or all failed where the model says nothing."""
    failed = card.accept.failed_gate_violation
    gates = [_gate(gate, measured, failed) for gate in card.gates]
    silent = next((gate for gate in gates if gate.metric in SPREAD and not gate.passed), None)
    if silent is None:
        return gates
    why = f"nothing is shown where {silent.metric} is not {silent.bound}"
    return [
        gate.model_copy(update={"passed": False, "violation": failed, "reason": gate.reason or why})
        for gate in gates
    ]


def _gate(gate: Gate, measured: MetricsFile, failed: float) -> GateResult:
    value, entry = measured.values.get(gate.metric), measured.metrics.get(gate.metric)
    violation = gate.violation(value, failed, measured.values.get(CATALOG[gate.metric].noise) or 0.0)
    reason = None
    if value is None:
        reason = (entry and entry.reason) or measured.refused or "not measured"
    return GateResult(
        metric=gate.metric,
        bound=gate.text,
        value=value,
        passed=violation == 0,
        violation=violation,
        reason=reason,
    )
