"""The accept rule as law."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlipilot.controller.accept import (
    Noise,
    failed_gates,
    judge,
    mean,
    mean_of_all,
    order,
    pooled_noise,
    student_t,
)
from mlipilot.evaluation.scorecard import AcceptRule, GateResult, Score

RULE = AcceptRule(confidence=0.95, min_gain=0.02)


def score_of(violation: float = 0.0, log_objective: float | None = 0.0) -> Score:
    gate = GateResult(
        metric="energy_mae_mev_per_atom",
        bound="≤ 5",
        value=1.0,
        passed=violation == 0,
        violation=violation,
    )
    return Score(feasible=violation == 0, violation=violation, log_objective=log_objective, gates=[gate])


def _feasible(*logs: float) -> list[Score]:
    return [score_of(log_objective=value) for value in logs]


def _infeasible(*violations: float) -> list[Score]:
    return [score_of(violation=value) for value in violations]


def test_pooled_noise_against_the_textbook() -> None:
    # Two groups with the same spread and other means: s² = (2·0.5² + 2·0.5²)/2.
    noise = pooled_noise([[1.0, 2.0], [11.0, 12.0]])
    assert noise.degrees_of_freedom == 2
    assert noise.sd == pytest.approx(math.sqrt(0.5))
    # t(0.95, 2) = 2.91999 (any table), sqrt(1/2 + 1/2) = 1
    assert noise.threshold(2, 2, 0.95) == pytest.approx(2.91999 * math.sqrt(0.5), rel=1e-5)


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    # ν = 1 and 2 have closed forms, tan(π(p − 1/2)) and (2p − 1)·sqrt(2 / (4p(1 − p))); others are tabled.
    [
        (1, math.tan(0.45 * math.pi)),
        (2, 0.9 * math.sqrt(2 / 0.19)),
        (3, 2.353363),
        (4, 2.131847),
        (6, 1.943180),
        (30, 1.697261),
    ],
)
def test_students_quantile_is_that_of_the_tables(freedom: int, quantile: float) -> None:
    assert student_t(0.95, freedom) == pytest.approx(quantile, rel=1e-6)


def test_students_quantile_leaves_the_rest_of_the_area_beyond_it() -> None:
    """By Simpson's rule over the density for ν = 5, Γ(3) / (sqrt(5π)·Γ(5/2))·(1 + t²/5)^-3."""
    at, steps = student_t(0.9, 5), 2000
    height = at / steps
    factor = math.gamma(3) / (math.sqrt(5 * math.pi) * math.gamma(2.5))
    density = [factor * (1 + (height * i) ** 2 / 5) ** -3 for i in range(steps + 1)]
    area = height / 3 * (density[0] + 4 * sum(density[1:-1:2]) + 2 * sum(density[2:-1:2]) + density[-1])
    assert area == pytest.approx(0.4, abs=1e-9)


# The means 2 and 12, squares 2 and 8 over ν = 3, and so on: each s² by hand, t(0.95, ν) from a table.
@pytest.mark.parametrize(
    ("old", "new", "variance", "freedom", "quantile"),
    [
        ([1.0, 2.0, 3.0], [10.0, 14.0], 10 / 3, 3, 2.353363),
        ([5.0], [0.0, 0.0, 3.0, 3.0], 9 / 3, 3, 2.353363),
        ([0.0, 1.0, 2.0], [1.0, 1.0, 1.0, 1.0, 6.0], 22 / 6, 6, 1.943180),
        ([0.0, 2.0], [0.0, 2.0, 1.0, 1.0], 4 / 4, 4, 2.131847),
    ],
)
def test_the_threshold_is_t_times_s_times_the_root_of_the_two_shares(
    old: list[float], new: list[float], variance: float, freedom: int, quantile: float
) -> None:
    noise = pooled_noise([old, new])
    assert noise.degrees_of_freedom == freedom
    assert noise.sd == pytest.approx(variance**0.5)
    shares = (len(old) + len(new)) / (len(old) * len(new))
    expected = quantile * (variance * shares) ** 0.5
    assert noise.threshold(len(old), len(new), 0.95) == pytest.approx(expected, rel=1e-6)
    judgement = judge(RULE, _feasible(*old), _feasible(*new))
    assert judgement.threshold == pytest.approx(expected, rel=1e-6)
    assert judgement.gain == pytest.approx(sum(old) / len(old) - sum(new) / len(new))


def test_groups_without_a_second_value_tell_no_noise() -> None:
    assert pooled_noise([[1.0], [9.0]]) == Noise(0.0, 0)
    assert Noise(7.0, 0).threshold(1, 1, 0.95) == 0.0
    assert pooled_noise([[], [1.0, 3.0]]) == Noise(math.sqrt(2), 1)


def test_the_mean_is_of_all_values() -> None:
    assert mean([1.0, 2.0, 6.0]) == 3.0


def test_an_infeasible_candidate_never_beats_a_feasible_one() -> None:
    judgement = judge(RULE, _feasible(5.0), _infeasible(0.001))
    assert judgement.verdict == "reverted"
    assert judgement.reason == "fails gates that the incumbent passes: energy_mae_mev_per_atom"
    assert (judgement.gain, judgement.threshold, judgement.measure) == (None, None, None)


def test_a_feasible_candidate_beats_an_infeasible_one_even_at_a_worse_objective() -> None:
    history = [_infeasible(0.1, 0.1), _feasible(9.0, 9.0)]
    judgement = judge(RULE, *history)
    assert judgement.verdict == "accepted"
    assert judgement.reason == "passes every gate on every seed; the incumbent does not"


def test_failed_gates_are_those_that_fail_on_some_seed_each_once() -> None:
    def seed(**passed: bool) -> Score:
        gates = [
            GateResult(metric=name, bound="≤ 1", value=1.0, passed=good, violation=0.0 if good else 1.0)
            for name, good in passed.items()
        ]
        return Score(feasible=False, violation=1.0, log_objective=0.0, gates=gates)

    seeds = [seed(a=True, b=False, c=True), seed(a=True, b=False, c=False), seed(a=True, b=True, c=True)]
    assert failed_gates(seeds) == "b, c"
    assert failed_gates(seeds[2:]) == ""


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
    assert judgement.reason == (
        "objective 1 → 0.6065; gain +0.500, needed > 0.020 (one seed: the noise is not known)"
    )


def test_a_verdict_tells_the_geometric_means_and_the_noise() -> None:
    """sqrt(2·8) = 4 and the cube root of 1·1·2: t(0.95, 3) of a table, s² = (2·ln²2 + ⅔·ln²2)/3."""
    ln2 = math.log(2)
    judgement = judge(RULE, _feasible(ln2, 3 * ln2), _feasible(0.0, 0.0, ln2))
    sd = math.sqrt((2 + 2 / 3) / 3) * ln2
    needed = 2.353363 * sd * math.sqrt(5 / 6)
    assert judgement.reason == (
        f"objective 4 → {2 ** (1 / 3):.4g}; gain +{5 / 3 * ln2:.3f}, needed > {needed:.3f} "
        f"(noise s = {sd:.3f} over 3 degrees of freedom)"
    )
    assert (judgement.verdict, judgement.measure) == ("reverted", "objective")


def test_a_verdict_on_violations_tells_their_means_in_ln_units() -> None:
    judgement = judge(RULE, _infeasible(5.0, 5.5), _infeasible(2.0, 2.0))
    sd = math.sqrt(0.125 / 2)  # t(0.95, 2) = 2.919986, and sqrt(1/2 + 1/2) = 1
    assert judgement.reason == (
        f"total gate violation 5.250 → 2.000 ln units; gain +3.250, needed > {2.919986 * sd:.3f} "
        "(noise s = 0.250 over 2 degrees of freedom)"
    )
    assert (judgement.verdict, judgement.measure) == ("accepted", "violation")


def test_the_least_gain_is_relative_and_must_be_passed() -> None:
    """min_gain 0.5 asks for half of the objective: ln 2, whatever the noise is below."""
    rule = AcceptRule(min_gain=0.5)
    ln2 = math.log(2)
    judgement = judge(rule, _feasible(0.0), _feasible(-ln2 + 1e-9))
    assert judgement.verdict == "reverted"
    assert judgement.threshold == pytest.approx(ln2)
    assert judge(rule, _feasible(0.0), _feasible(-ln2 - 1e-9)).verdict == "accepted"
    assert judge(AcceptRule(min_gain=0.0), _feasible(1.0), _feasible(1.0)).verdict == "reverted"


def test_an_objective_that_cannot_be_computed_is_no_gain() -> None:
    judgement = judge(RULE, _feasible(0.0, 0.0), [*_feasible(-9.0), score_of(log_objective=None)])
    assert (judgement.verdict, judgement.measure) == ("reverted", "objective")
    assert judgement.reason == "the objective cannot be computed on every seed"


def test_any_objective_is_a_gain_over_one_that_cannot_be_computed() -> None:
    judgement = judge(RULE, [*_feasible(-9.0), score_of(log_objective=None)], _feasible(5.0, 5.0))
    assert (judgement.verdict, judgement.measure) == ("accepted", "objective")
    assert judgement.reason == "the incumbent's objective cannot be computed"


def test_the_order_puts_a_candidate_without_an_objective_behind_all_other_feasible_ones() -> None:
    assert order([*_feasible(-9.0), score_of(log_objective=None)]) == (False, math.inf)
    assert order(_feasible(1.0, 2.0, 6.0)) == (False, 3.0)
    assert order([*_feasible(-9.0), *_infeasible(3.0)]) == (True, 1.5)


_SEEDS = st.lists(
    st.builds(score_of, st.sampled_from([0.0, 0.0, 0.5, 2.0]), st.sampled_from([None, -0.5, 0.0, 0.01])),
    min_size=1,
    max_size=3,
)


@given(_SEEDS, _SEEDS)
def test_only_what_comes_before_the_incumbent_in_the_order_is_accepted(
    old: list[Score], new: list[Score]
) -> None:
    if judge(RULE, old, new).verdict == "accepted":
        assert order(new) < order(old)


def test_the_order_without_noise_is_feasible_first_then_thescore_of() -> None:
    good, better = _feasible(0.0, 0.01), _feasible(-1.0, 0.0)
    bad, worse = _infeasible(0.1, 0.2), _infeasible(0.0, 5.0)
    assert sorted([worse, good, bad, better], key=order) == [better, good, bad, worse]


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=4), st.lists(st.floats(-3, 3), min_size=2, max_size=4))
def test_a_candidate_and_its_incumbent_never_beat_each_other(old: list[float], new: list[float]) -> None:
    history = [_feasible(*old), _feasible(*new)]
    forth = judge(RULE, *history).verdict == "accepted"
    back = judge(RULE, *reversed(history)).verdict == "accepted"
    assert not (forth and back)


def test_a_mean_of_all_is_one_of_every_value_or_none() -> None:
    assert mean_of_all([1.0, 2.0, 6.0]) == 3.0
    assert mean_of_all([1.0, None]) is None
    assert mean_of_all([None]) is None
    assert mean_of_all([]) is None


def test_the_noise_of_one_and_two_seeds_has_one_degree_of_freedom() -> None:
    noise = pooled_noise([[5.0], [1.0, 3.0]])
    assert noise.degrees_of_freedom == 1 and noise.sd == pytest.approx(math.sqrt(2))
    one_and_two = judge(RULE, _feasible(0.0), _feasible(-1.0, -3.0))
    assert one_and_two.threshold == pytest.approx(
        6.313752 * math.sqrt(2) * math.sqrt(1 / 1 + 1 / 2), rel=1e-6
    )


def test_the_mean_of_one_seed_is_its_value() -> None:
    assert mean_of_all([2.5]) == 2.5


def test_a_violation_however_small_is_one() -> None:
    assert judge(RULE, _feasible(0.0), _infeasible(1e-12)).verdict == "reverted"


def test_gain_and_threshold_of_what_is_accepted_are_told_as_they_are() -> None:
    found = judge(RULE, _feasible(0.0, 0.0), _feasible(-1.0, -1.0))
    assert found.verdict == "accepted" and found.gain == pytest.approx(1.0)
    assert found.threshold == pytest.approx(-math.log(0.98))
