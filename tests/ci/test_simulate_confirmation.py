"""Campaigns of chance, and of true gains, by the project's own rules: docs/scorecard.md has the table."""

from __future__ import annotations

import math
import random

import pytest

from mlipilot.campaign.extent import Confirmation
from mlipilot.evaluation.scorecard import load_scorecard
from tests.scripts import script

simulated = script("simulate_confirmation")
RULE = load_scorecard(simulated.CARD).accept
SD, ALPHA = 0.25, 0.05
THREE, FIVE = Confirmation(seeds=3, alpha=ALPHA), Confirmation(seeds=5, alpha=ALPHA)
TWICE = Confirmation(seeds=5, most_seeds=8, alpha=ALPHA)


@pytest.mark.parametrize(("count", "plan"), [(4, THREE), (12, FIVE), (40, FIVE), (40, TWICE)])
def test_chance_is_believed_no_more_often_than_alpha(count: int, plan: Confirmation) -> None:
    """A thousand campaigns in which no candidate is better than another, though the search keeps many."""
    dice = random.Random(17)
    runs = [simulated.simulate(dice, [0.0] * count, plan, SD, RULE) for _ in range(1000)]
    kept, false = (
        sum(bool(word) for word in words) / len(runs)
        for words in ([run.kept_by_chance for run in runs], [run.false_words for run in runs])
    )
    assert kept > 0.3, "the search by itself is fooled"
    assert false <= ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / len(runs))


@pytest.mark.parametrize("plan", [THREE, FIVE, TWICE])
def test_true_gains_stand_and_those_confirmed_by_themselves_are_seldom_chance(plan: Confirmation) -> None:
    """Three of twelve candidates are better by 0.5 ln units."""
    dice = random.Random(18)
    gains = [0.5 * (number % 4 == 1) for number in range(12)]
    runs = [simulated.simulate(dice, gains, plan, SD, RULE) for _ in range(400)]
    assert sum(bool(run.false_words) for run in runs) / len(runs) <= ALPHA
    found, kept = (
        sum(values) / len(runs) for values in ([run.gain for run in runs], [run.search_gain for run in runs])
    )
    assert kept > 0.9 and found > 0.9 * kept
