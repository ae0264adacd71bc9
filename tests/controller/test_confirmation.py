"""What fresh seeds say of the steps that a search kept: by law, and in simulated campaigns."""

from __future__ import annotations

import math
import random

import pytest

from mlipilot.campaign.spec import CampaignSpec
from mlipilot.controller.confirmation import (
    at_least,
    confirm,
    fresh_seeds,
    holm_levels,
    kept_steps,
    paired_p,
)
from mlipilot.evaluation.scorecard import Score, load_scorecard
from tests.controller.events import measured, state_of, verdict
from tests.scripts import script

simulated = script("simulate_confirmation")
RULE = load_scorecard(simulated.CARD).accept

SD, ALPHA = 0.25, 0.05
"""The first of ln objective from seed to seed: what the shipped copper campaign's good recipes have."""


def passing(log_objective: float) -> Score:
    return Score(feasible=True, violation=0.0, log_objective=log_objective, gates=[])


def failing(violation: float, log_objective: float | None = None) -> Score:
    return Score(feasible=False, violation=violation, log_objective=log_objective, gates=[])


def spec(**changes: object) -> CampaignSpec:
    fields = {
        "name": "x",
        "dataset": {"name": "cu_emt"},
        "recipe": "mace",
        "scorecard": "s.yaml",
        "pilot": {"kind": "scripted"},
        "seeds": [1, 2],
        "budget": {"iterations": 2, "optimizer_steps": 10},
        "confirm": {"seeds": 4},
    }
    return CampaignSpec.model_validate(fields | changes)


# From tables of Student's t: one-sided 5 % at 2, 4 and 7 degrees of freedom.
@pytest.mark.parametrize(("seeds", "t"), [(3, 2.919986), (5, 2.131847), (8, 1.894579)])
def test_p_is_students_of_gains_paired_by_seed(seeds: int, t: float) -> None:
    """Gains of mean m and standard deviation s whose m / (s / √k) is the tabulated quantile."""
    around = [-1.0] * (seeds // 2) + [0.0] * (seeds % 2) + [1.0] * (seeds // 2)
    sd = math.sqrt(sum(x * x for x in around) / (seeds - 1))
    gains = [t * sd / math.sqrt(seeds) + x for x in around]
    assert paired_p(gains) == pytest.approx(0.05, abs=1e-6)
    assert paired_p([-gain for gain in gains]) == pytest.approx(0.95, abs=1e-6)


def test_gains_without_any_scatter_are_certain() -> None:
    assert (paired_p([0.5, 0.5]), paired_p([0.0, 0.0]), paired_p([-0.5, -0.5])) == (0.0, 1.0, 1.0)


def test_holm_steps_down_and_stops_at_the_first_that_fails() -> None:
    assert holm_levels([0.03, 0.001, 0.02], 0.06) == pytest.approx([0.06, 0.02, 0.03])
    assert holm_levels([0.03, 0.001, 0.04], 0.05) == pytest.approx([0.025, 0.05 / 3, 0.0])
    assert holm_levels([], 0.05) == []


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


def test_seeds_that_say_nothing_confirm_nothing() -> None:
    first, better = ([passing(x) for x in (0.0, 0.01)], [passing(x) for x in (-1.0, -1.02)])
    for faults in ([None, "same weights"], ["same weights", None]):
        found = confirm([0, 1], [7, 8], [first, better], faults, 0.3)
        assert (found.steps[0].p, found.steps[0].fault, found.incumbent) == (1.0, "same weights", 0)


def test_fresh_seeds_follow_from_all_verdicts_and_are_no_seed_of_the_search() -> None:
    one = state_of(*measured(0, 1, 2), verdict(0, "accepted"))
    more = state_of(*measured(0, 1, 2), verdict(0, "accepted"), *measured(1, 1, 2), verdict(1, "reverted"))
    seeds = fresh_seeds(one, spec())
    assert seeds == fresh_seeds(one, spec()) and len(set(seeds)) == 4
    assert not set(seeds) & set(fresh_seeds(more, spec()))
    assert seeds[:2] == fresh_seeds(one, spec(confirm={"seeds": 2})), "more seeds begin with the same"
    taken = fresh_seeds(one, spec(seeds=[seeds[0], 2]))
    assert seeds[0] not in taken and taken[:3] == seeds[1:]
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_kept_are_the_baseline_and_what_was_accepted() -> None:
    events = [
        e for n in range(4) for e in (*measured(n, 1), verdict(n, "reverted" if n == 2 else "accepted"))
    ]
    assert kept_steps(state_of(*events)) == [0, 1, 3]


@pytest.mark.parametrize(("count", "fresh"), [(4, 3), (12, 5), (40, 5)])
def test_chance_is_believed_no_more_often_than_alpha(count: int, fresh: int) -> None:
    """A thousand campaigns in which no candidate is better than another, though the search keeps many."""
    dice = random.Random(17)
    runs = [simulated.simulate(dice, [0.0] * count, fresh, SD, RULE) for _ in range(1000)]
    kept, false = (
        sum(bool(word) for word in words) / len(runs)
        for words in ([run.kept_by_chance for run in runs], [run.false_words for run in runs])
    )
    assert kept > 0.3, "the search by itself is fooled"
    assert false <= ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / len(runs))


@pytest.mark.parametrize("fresh", [3, 5])
def test_true_gains_stand_and_those_confirmed_by_themselves_are_seldom_chance(fresh: int) -> None:
    """Three of twelve candidates are better by 0.5 ln units."""
    dice = random.Random(18)
    gains = [0.5 * (number % 4 == 1) for number in range(12)]
    runs = [simulated.simulate(dice, gains, fresh, SD, RULE) for _ in range(400)]
    assert sum(bool(run.false_words) for run in runs) / len(runs) <= ALPHA
    found, kept = (
        sum(values) / len(runs) for values in ([run.gain for run in runs], [run.search_gain for run in runs])
    )
    assert kept > 0.9 and found > 0.9 * kept
