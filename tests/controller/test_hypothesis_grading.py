"""Grading by code: held, refuted, unclear."""

from __future__ import annotations

import pytest

from mlipilot.audit.events.proposing import ExpectedEffect
from mlipilot.controller.hypothesis_grading import grade_effects
from mlipilot.evaluation.scorecard import AcceptRule
from mlipilot.pilots.hypothesis import Direction

FORCE = "force_mae_mev_per_a"


@pytest.mark.parametrize(
    ("direction", "after", "grade"),
    [
        ("decrease", [50.0, 51.0], "held"),
        ("increase", [50.0, 51.0], "refuted"),
        ("unchanged", [50.0, 51.0], "refuted"),
        ("unchanged", [100.0, 101.0], "held"),
        ("decrease", [99.9, 100.9], "unclear"),
        ("increase", [200.0, 203.0], "held"),
    ],
)
def test_direction_against_movement(direction: Direction, after: list[float], grade: str) -> None:
    history = [[{FORCE: 100.0}, {FORCE: 101.0}], [{FORCE: value} for value in after]]
    effects = [ExpectedEffect(metric=FORCE, direction=direction)]
    (graded,) = grade_effects(AcceptRule(), effects, *history)
    assert graded.grade == grade
    assert graded.before == pytest.approx(100.5)


def test_a_metric_that_failed_is_unclear() -> None:
    effects = [ExpectedEffect(metric=FORCE, direction="decrease")]
    (graded,) = grade_effects(AcceptRule(), effects, [{FORCE: 100.0}], [{FORCE: None}])
    assert graded.grade == "unclear"
    assert graded.after is None


def test_a_move_within_the_scatter_of_seeds_is_unclear() -> None:
    effects = [ExpectedEffect(metric=FORCE, direction="decrease")]
    old, new = [{FORCE: 60.0}, {FORCE: 140.0}], [{FORCE: 80.0}, {FORCE: 81.0}]
    (graded,) = grade_effects(AcceptRule(), effects, old, new)
    assert graded.grade == "unclear"


def test_metrics_that_can_be_zero_are_compared_as_differences() -> None:
    name = "rotation_error_mev"
    effects = [ExpectedEffect(metric=name, direction="increase")]
    (graded,) = grade_effects(AcceptRule(), effects, [{name: 0.0}], [{name: 1.0}])
    assert graded.grade == "held"
