"""Grading a hypothesis from the metrics: held, refuted or unclear, effect by effect."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from mlipilot.audit.events.proposing import ExpectedEffect
from mlipilot.audit.events.running import GradedEffect
from mlipilot.controller.accept import mean, pooled_noise
from mlipilot.evaluation.scorecard import AcceptRule
from mlipilot.pilots.hypothesis import Direction, Grade

SeedValues = Sequence[Mapping[str, float | None]]


def grade_effects(
    rule: AcceptRule, effects: Sequence[ExpectedEffect], old: SeedValues, new: SeedValues
) -> list[GradedEffect]:
    """Each expected effect with its grade and the mean values before and after.

    `old` and `new` hold the incumbent's and the candidate's metric values, one mapping a seed. A metric
    moves only if it moves beyond the noise of repeated seeds; a move expected and not seen is unclear, a
    move the other way is refuted.
    """
    return [_grade(rule, effect, old, new) for effect in effects]


def _grade(rule: AcceptRule, effect: ExpectedEffect, old: SeedValues, new: SeedValues) -> GradedEffect:
    before, after = _finite(old, effect.metric), _finite(new, effect.metric)
    grade: Grade = "unclear"
    if before and after:
        grade = _verdict(effect.direction, _movement(rule, before, after))
    return GradedEffect(
        metric=effect.metric,
        direction=effect.direction,
        before=mean(before) if before else None,
        after=mean(after) if after else None,
        grade=grade,
    )


def _finite(seeds: SeedValues, metric: str) -> list[float]:
    values = [values.get(metric) for values in seeds]
    return [value for value in values if value is not None and math.isfinite(value)]


def _movement(rule: AcceptRule, before: Sequence[float], after: Sequence[float]) -> Direction:
    # Relative changes are what people mean by "moves", so positive metrics are compared as logarithms.
    positive = all(value > 0 for value in [*before, *after])
    if positive:
        before, after = [math.log(v) for v in before], [math.log(v) for v in after]
    noise = pooled_noise([before, after])
    minimum = -math.log1p(-rule.min_gain) * (1.0 if positive else abs(mean(before)))
    threshold = max(minimum, noise.threshold(len(before), len(after), rule.confidence))
    change = mean(after) - mean(before)
    if abs(change) <= threshold:
        return "unchanged"
    return "increase" if change > 0 else "decrease"


def _verdict(expected: Direction, moved: Direction) -> Grade:
    if moved == expected:
        return "held"
    return "unclear" if moved == "unchanged" else "refuted"
