"""What fresh seeds say of the steps that a search kept; tests/ci has simulated campaigns."""

from __future__ import annotations

import hashlib
import itertools
import math

import pytest

from mlipilot.controller import confirmation
from mlipilot.controller.confirmation import (
    at_least,
    confirm,
    fresh_seeds,
    holm_levels,
    kept_steps,
    paired_p,
)
from mlipilot.evaluation.scorecard import Score
from tests.controller.events import measured, no_proposal, state_of, verdict


def passing(log_objective: float) -> Score:
    return Score(feasible=True, violation=0.0, log_objective=log_objective, gates=[])


def failing(violation: float, log_objective: float | None = None) -> Score:
    return Score(feasible=False, violation=violation, log_objective=log_objective, gates=[])


# From tables of Student's t: one-sided 5 % at 2, 4 and 7 degrees of freedom.
@pytest.mark.parametrize(("seeds", "t"), [(3, 2.919986), (5, 2.131847), (8, 1.894579)])
def test_p_is_students_of_gains_paired_by_seed(seeds: int, t: float) -> None:
    """Gains of mean m and standard deviation s whose m / (s / √k) is the tabulated quantile."""
    around = [-1.0] * (seeds // 2) + [0.0] * (seeds % 2) + [1.0] * (seeds // 2)
    sd = math.sqrt(sum(x * x for x in around) / (seeds - 1))
    gains = [t * sd / math.sqrt(seeds) + x for x in around]
    assert paired_p(gains) == pytest.approx(0.05, abs=1e-6)
    assert paired_p([-gain for gain in gains]) == pytest.approx(0.95, abs=1e-6)


def test_gains_without_any_scatter_are_as_certain_as_a_coin_that_always_fell_so() -> None:
    assert (paired_p([0.5, 0.5]), paired_p([0.0, 0.0]), paired_p([-0.5, -0.5])) == (1 / 16, 1.0, 1.0)
    assert paired_p([0.5] * 3) == 1 / 64
    half = [either for either in itertools.product((0, 1), repeat=4) if either == (1, 1, 0, 0)]
    assert paired_p([0.5, 0.5]) == len(half) / 2**4, "two seeds of each, and each outcome as likely"


def test_holm_steps_down_and_stops_at_the_first_that_fails() -> None:
    assert holm_levels([0.03, 0.001, 0.02], 0.06) == pytest.approx([0.06, 0.02, 0.03])
    assert holm_levels([0.03, 0.001, 0.04], 0.05) == pytest.approx([0.025, 0.05 / 3, 0.0])
    assert holm_levels([], 0.05) == []
    assert holm_levels([0.025, 0.04], 0.05) == [0.025, 0.0], "p must be below, not at it"


def test_as_many_seeds_as_passed_bound_the_pass_rate() -> None:
    """With k of k the bound is the root: 0.05^(1/k)."""
    for k in (2, 3, 5, 8):
        assert at_least(k, k) == pytest.approx(0.05 ** (1 / k))
        assert at_least(0, k) == 0.0
    assert at_least(4, 5) == pytest.approx(0.3426, abs=1e-4)  # Clopper and Pearson's table


def test_between_models_that_pass_every_gate_the_objective_decides() -> None:
    old, new = [passing(x) for x in (0.0, 0.1, -0.1)], [passing(x) for x in (-1.0, -0.8, -1.1)]
    found = confirm([0, 2], [7, 8, 9], [old, new], [None, None], 0.05)
    (step,) = found.steps
    assert (step.before, step.iteration, step.measure) == (0, 2, "objective")
    assert step.gain == pytest.approx((1.0 + 0.9 + 1.0) / 3)
    assert step.sd == pytest.approx(math.sqrt(2 * (1 / 30) ** 2 / 2 + (1 / 15) ** 2 / 2))
    assert step.confirmed and step.level == 0.05 and step.p < 0.001
    assert (found.incumbent, found.baseline_passed, step.passed) == (2, 3, 3)


@pytest.mark.parametrize("old", [failing(2.0, 0.0), passing(0.0)], ids=["failed", "no objective"])
def test_a_step_over_a_gate_is_tested_like_any_other(old: Score) -> None:
    """One seed that fails makes it a matter of violation, and luck of one seed in three is no gain."""
    before = [old, passing(0.0), failing(1.0)]
    after = [passing(-1.0)] * 3
    found = confirm([0, 1], [7, 8, 9], [before, after], [None, None], 0.05)
    assert found.steps[0].measure == "violation" and not found.steps[0].confirmed
    assert found.incumbent == 0
    sure = confirm([0, 1], [7, 8, 9], [[failing(5.0), failing(5.2), failing(4.8)], after], [None] * 2, 0.05)
    assert sure.steps[0].confirmed and sure.incumbent == 1


def test_an_objective_that_is_missing_leaves_the_violation() -> None:
    without = Score(feasible=True, violation=0.0, log_objective=None, gates=[])
    found = confirm([0, 1], [7, 8], [[without, passing(0.0)], [passing(-1.0)] * 2], [None] * 2, 0.05)
    assert found.steps[0].measure == "violation" and found.steps[0].gain == 0.0


def test_the_whole_stands_though_a_step_of_it_may_be_luck() -> None:
    first = [passing(x) for x in (0.0, 0.01, -0.01)]
    better = [passing(x - 1.0) for x in (0.0, 0.02, -0.02)]
    luck = [passing(x - 1.0) for x in (0.1, -0.2, 0.01)]
    found = confirm([0, 1, 3], [7, 8, 9], [first, better, luck], [None] * 3, 0.05)
    assert (found.whole.before, found.whole.iteration, found.whole.level) == (0, 3, 0.05)
    assert found.whole.confirmed and found.incumbent == 3
    assert [step.confirmed for step in found.steps] == [True, False]
    assert [step.level for step in found.steps] == [0.025, 0.05]


def test_where_the_whole_does_not_hold_no_step_is_asked() -> None:
    first = [passing(x) for x in (0.0, 0.01, -0.01)]
    better = [passing(x - 1.0) for x in (0.0, 0.02, -0.02)]
    worse = [passing(x) for x in (0.5, -0.6, 0.01)]
    found = confirm([0, 1, 3], [7, 8, 9], [first, better, worse], [None] * 3, 0.05)
    assert not found.whole.confirmed and found.incumbent == 0
    assert found.steps[0].p < 0.001 and [step.level for step in found.steps] == [0.0, 0.0]
    assert not any(step.confirmed for step in found.steps)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (passing(0.0), failing(1.0, -1.0)),
        (failing(1.0, 0.0), passing(-1.0)),
        (failing(3.0, 0.0), failing(2.0, -1.0)),
        (Score(feasible=True, violation=0.0, log_objective=None, gates=[]), passing(-1.0)),
        (passing(0.0), Score(feasible=True, violation=0.0, log_objective=None, gates=[])),
    ],
    ids=["new fails", "old fails", "both fail", "no old objective", "no new objective"],
)
def test_one_seed_of_another_kind_makes_it_a_matter_of_violation(old: Score, new: Score) -> None:
    found = confirm([0, 1], [7, 8], [[passing(0.0), old], [passing(-1.0), new]], [None] * 2, 0.05)
    assert found.whole.measure == "violation"
    assert found.whole.gain == (old.violation - new.violation) / 2
    assert (found.baseline_passed, found.whole.passed) == (1 + old.feasible, 1 + new.feasible)


def test_what_stands_is_told_with_its_own_pass_rate() -> None:
    old, new = [failing(5.0), failing(5.1), passing(0.0)], [passing(-1.0)] * 3
    found = confirm([0, 4], [7, 8, 9], [old, new], [None] * 2, 0.05)
    assert (found.baseline_passed, found.whole.passed, found.incumbent) == (1, 3, 0)
    assert found.pass_rate_at_least == at_least(1, 3)
    found = confirm([0, 4], [7, 8, 9], [old, new], [None] * 2, 0.2)
    assert found.incumbent == 4 and found.pass_rate_at_least == at_least(3, 3)


def test_an_alpha_of_one_confirms_no_fault() -> None:
    found = confirm([0, 1], [7, 8], [[passing(0.0)] * 2, [passing(-1.0)] * 2], [None, "f"], 1.0)
    assert not found.whole.confirmed


def test_no_fresh_seed_is_drawn_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    digests = iter(f"{number:012x}" + "0" * 52 for number in (5, 5, 2, 6, 10**9 + 7, 8))
    monkeypatch.setattr(confirmation, "sha256_bytes", lambda _: next(digests))
    state = state_of(*measured(0, 1, 2), verdict(0, "accepted"))
    assert fresh_seeds(state, [1, 2], 4) == [5, 6, 7, 8], "5 came twice, and 2 is a seed of the search"


def test_they_are_the_first_digits_of_the_digest_of_all_verdicts_and_a_number() -> None:
    judged = [*measured(0, 1, 2), verdict(0, "accepted"), *measured(1, 1, 2), verdict(1, "reverted")]
    state = state_of(*judged, no_proposal(2))
    verdicts = [i.verdict.verdict_sha256 for i in state.iterations if i.verdict]
    texts = [f"{verdicts[0]}:{verdicts[1]}:{number}".encode() for number in range(4)]
    assert fresh_seeds(state, [1, 2], 4) == [
        int(hashlib.sha256(text).hexdigest()[:12], 16) % 10**9 for text in texts
    ]


def test_seeds_that_say_nothing_confirm_nothing() -> None:
    first, better = ([passing(x) for x in (0.0, 0.01)], [passing(x) for x in (-1.0, -1.02)])
    for faults in ([None, "same weights"], ["same weights", None]):
        found = confirm([0, 1], [7, 8], [first, better], faults, 0.3)
        assert (found.steps[0].p, found.steps[0].fault, found.incumbent) == (1.0, "same weights", 0)


def test_fresh_seeds_follow_from_all_verdicts_and_are_no_seed_of_the_search() -> None:
    one = state_of(*measured(0, 1, 2), verdict(0, "accepted"))
    more = state_of(*measured(0, 1, 2), verdict(0, "accepted"), *measured(1, 1, 2), verdict(1, "reverted"))
    seeds = fresh_seeds(one, [1, 2], 4)
    assert seeds == fresh_seeds(one, [1, 2], 4) and len(set(seeds)) == 4
    assert not set(seeds) & set(fresh_seeds(more, [1, 2], 4))
    assert seeds[:2] == fresh_seeds(one, [1, 2], 2), "more seeds begin with the same"
    taken = fresh_seeds(one, [seeds[0], 2], 4)
    assert seeds[0] not in taken and taken[:3] == seeds[1:]
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_kept_are_the_baseline_and_what_was_accepted() -> None:
    events = [
        e for n in range(4) for e in (*measured(n, 1), verdict(n, "reverted" if n == 2 else "accepted"))
    ]
    assert kept_steps(state_of(*events, no_proposal(4))) == [0, 1, 3]


def test_gains_that_differ_by_last_digits_alone_do_not_scatter() -> None:
    for gains in ([0.7] * 3, [0.3, 0.1 + 0.2, 0.3], [1.0] * 3):
        assert paired_p(gains) == 4.0**-3
    assert paired_p([0.7, 0.7, 0.7 + 1e-6]) < 1e-9
    assert paired_p([0.0, 0.0]) == 1.0
