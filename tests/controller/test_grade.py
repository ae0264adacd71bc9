"""Grading by code: held, refuted, unclear."""

from __future__ import annotations

import pytest

from mlipilot.controller.grade import grade_effects
from mlipilot.evaluation.scorecard import AcceptRule
from mlipilot.pilots.hypothesis import Direction, ExpectedEffect

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
    (graded,) = grade_effects(AcceptRule(), effects, history, 0, 1)
    assert graded["grade"] == grade
    assert graded["before"] == pytest.approx(100.5)


def test_a_metric_that_failed_is_unclear() -> None:
    effects = [ExpectedEffect(metric=FORCE, direction="decrease")]
    (graded,) = grade_effects(AcceptRule(), effects, [[{FORCE: 100.0}], [{FORCE: None}]], 0, 1)
    assert graded["grade"] == "unclear"
    assert graded["after"] is None


def test_noise_of_all_candidates_counts() -> None:
    noisy = [
        [{FORCE: 50.0}, {FORCE: 200.0}],
        [{FORCE: 100.0}, {FORCE: 100.0}],
        [{FORCE: 80.0}, {FORCE: 80.0}],
    ]
    effects = [ExpectedEffect(metric=FORCE, direction="decrease")]
    (graded,) = grade_effects(AcceptRule(), effects, noisy, 1, 2)
    assert graded["grade"] == "unclear"


def test_metrics_that_can_be_zero_are_compared_as_differences() -> None:
    name = "rotation_error_mev"
    effects = [ExpectedEffect(metric=name, direction="increase")]
    (graded,) = grade_effects(AcceptRule(), effects, [[{name: 0.0}], [{name: 1.0}]], 0, 1)
    assert graded["grade"] == "held"
