"""The accept rule as law."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlipilot.controller.accept import judge, order, pooled_noise
from mlipilot.evaluation.scorecard import AcceptRule, GateResult, Score

RULE = AcceptRule(confidence=0.95, min_gain=0.02)


def _score(violation: float = 0.0, log_objective: float | None = 0.0) -> Score:
    gate = GateResult(
        metric="energy_mae_mev_per_atom",
        bound="≤ 5",
        value=1.0,
        passed=violation == 0,
        violation=violation,
    )
    return Score(feasible=violation == 0, violation=violation, log_objective=log_objective, gates=[gate])


def _feasible(*logs: float) -> list[Score]:
    return [_score(log_objective=value) for value in logs]


def _infeasible(*violations: float) -> list[Score]:
    return [_score(violation=value) for value in violations]


def test_pooled_noise_against_the_textbook() -> None:
    # Two groups with the same spread and other means: s² = (2·0.5² + 2·0.5²)/2.
    noise = pooled_noise([[1.0, 2.0], [11.0, 12.0]])
    assert noise.degrees_of_freedom == 2
    assert noise.sd == pytest.approx(math.sqrt(0.5))
    # t(0.95, 2) = 2.91999 (any table), sqrt(1/2 + 1/2) = 1
    assert noise.threshold(2, 2, 0.95) == pytest.approx(2.91999 * math.sqrt(0.5), rel=1e-5)


def test_an_infeasible_candidate_never_beats_a_feasible_one() -> None:
    assert judge(RULE, _feasible(5.0), _infeasible(0.001)).verdict == "reverted"


def test_a_feasible_candidate_beats_an_infeasible_one_even_at_a_worse_objective() -> None:
    history = [_infeasible(0.1, 0.1), _feasible(9.0, 9.0)]
    assert judge(RULE, *history).verdict == "accepted"


def test_one_failing_seed_makes_a_candidate_infeasible() -> None:
    mixed = [*_feasible(-5.0), *_infeasible(0.01)]
    assert judge(RULE, _feasible(0.0, 0.0), mixed).verdict == "reverted"


def test_of_two_infeasible_ones_the_smaller_violation_wins() -> None:
    history = [_infeasible(5.0, 5.1), _infeasible(2.0, 2.1)]
    assert judge(RULE, *history).verdict == "accepted"
    assert judge(RULE, *reversed(history)).verdict == "reverted"


def test_a_gain_within_the_noise_does_not_count() -> None:
    noisy = [_feasible(0.0, 0.4), _feasible(-0.2, 0.2)]
    judgement = judge(RULE, *noisy)
    assert judgement.verdict == "reverted"
    assert judgement.gain == pytest.approx(0.2)
    assert judgement.threshold is not None and judgement.threshold > 0.2
    quiet = [_feasible(0.0, 0.004), _feasible(-0.2, -0.196)]
    assert judge(RULE, *quiet).verdict == "accepted"


def test_a_tiny_gain_without_noise_does_not_count() -> None:
    assert judge(RULE, _feasible(0.0, 0.0), _feasible(-0.01, -0.01)).verdict == "reverted"


def test_one_seed_says_that_the_noise_is_not_known() -> None:
    judgement = judge(RULE, _feasible(0.0), _feasible(-0.5))
    assert judgement.verdict == "accepted"
    assert "noise is not known" in judgement.reason


def test_an_objective_that_cannot_be_computed_is_no_gain() -> None:
    candidate = [_score(log_objective=None)]
    assert judge(RULE, _feasible(0.0), candidate).verdict == "reverted"


_SEEDS = st.lists(
    st.builds(_score, st.sampled_from([0.0, 0.0, 0.5, 2.0]), st.sampled_from([None, -0.5, 0.0, 0.01])),
    min_size=1,
    max_size=3,
)


@given(_SEEDS, _SEEDS)
def test_only_what_comes_before_the_incumbent_in_the_order_is_accepted(
    old: list[Score], new: list[Score]
) -> None:
    if judge(RULE, old, new).verdict == "accepted":
        assert order(new) < order(old)


def test_the_order_without_noise_is_feasible_first_then_the_score() -> None:
    good, better = _feasible(0.0, 0.01), _feasible(-1.0, 0.0)
    bad, worse = _infeasible(0.1, 0.2), _infeasible(0.0, 5.0)
    assert sorted([worse, good, bad, better], key=order) == [better, good, bad, worse]


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=4), st.lists(st.floats(-3, 3), min_size=2, max_size=4))
def test_a_candidate_and_its_incumbent_never_beat_each_other(old: list[float], new: list[float]) -> None:
    history = [_feasible(*old), _feasible(*new)]
    forth = judge(RULE, *history).verdict == "accepted"
    back = judge(RULE, *reversed(history)).verdict == "accepted"
    assert not (forth and back)
