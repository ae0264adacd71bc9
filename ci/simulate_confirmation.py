"""How often campaigns of chance are believed, and what is found of true gains, by the project's own rules.

    python ci/simulate_confirmation.py
    python ci/simulate_confirmation.py --sd 0.25 --campaigns 1000

Each candidate's ln objective is normal around its truth, with the same standard deviation from seed to seed;
all pass every gate. The search is `controller/accept.py` with two seeds, the confirmation
`controller/confirmation.py`. The table goes to docs/scorecard.md.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlipilot.audit.events.concluding import Confirmed
from mlipilot.campaign.extent import Confirmation
from mlipilot.controller.accept import judge
from mlipilot.controller.confirmation import confirm, looks
from mlipilot.evaluation.scorecard import AcceptRule, Score, load_scorecard

CARD = Path(__file__).resolve().parents[1] / "scorecards" / "cu_emt.yaml"
PLANS = (*(Confirmation(seeds=seeds) for seeds in (3, 5, 8)), Confirmation(seeds=5, most_seeds=8))
# Candidates of a campaign, of which so many are truly better by the gain, in ln units.
CAMPAIGNS = ((4, 0, 0.0), (12, 0, 0.0), (40, 0, 0.0), (12, 3, 0.5), (40, 5, 0.5))


@dataclass(frozen=True)
class Campaign:
    """One simulated campaign; gains are true ones over the baseline, in ln units."""

    kept_by_chance: int
    false_words: int
    """Of the confirmation: steps, or the whole, that it confirms and that are no gain."""
    search_gain: float
    gain: float
    """Of the model that stands."""
    strict_gain: float
    """Of the last step that is confirmed by itself: what would stand if all after it were given up."""


def simulate(
    dice: random.Random, gains: Sequence[float], plan: Confirmation, sd: float, rule: AcceptRule
) -> Campaign:
    """A campaign whose candidates have these true gains over whatever they stand on."""

    def measure(truth: float, seeds: int) -> list[Score]:
        found = [dice.gauss(truth, sd) for _ in range(seeds)]
        return [Score(feasible=True, violation=0.0, log_objective=value, gates=[]) for value in found]

    truths, kept, incumbent = [0.0], [0], measure(0.0, 2)
    for number, gain in enumerate(gains, start=1):
        candidate = measure(truths[-1] - gain, 2)
        if judge(rule, incumbent, candidate).verdict == "accepted":
            incumbent = candidate
            truths.append(truths[-1] - gain)
            kept.append(number)
    by_chance = {number for number in kept[1:] if gains[number - 1] <= 0}
    if len(kept) == 1:
        return Campaign(0, 0, 0.0, 0.0, 0.0)
    scores = [measure(truth, plan.most_seeds or plan.seeds) for truth in truths]
    found = None
    for look in looks(plan):
        if found is None or found.goes_on_to is not None:
            seen, faults = [each[: look.seeds] for each in scores], [None] * len(kept)
            found = confirm(kept, range(look.seeds), seen, faults, plan.alpha, look=look, first=found)
    if found is None:
        raise AssertionError("a plan has a look")
    return Campaign(
        len(by_chance),
        _false_words(found, by_chance, truths),
        -truths[-1],
        -truths[kept.index(found.incumbent)],
        -truths[max((kept.index(step.iteration) for step in found.steps if step.confirmed), default=0)],
    )


def _false_words(found: Confirmed, by_chance: set[int], truths: Sequence[float]) -> int:
    whole = found.whole.confirmed and truths[-1] >= 0.0
    return whole + sum(step.confirmed and step.iteration in by_chance for step in found.steps)


def candidates(dice: random.Random, count: int, real: int, gain: float) -> list[float]:
    """True gains in an order of chance."""
    gains = [gain] * real + [0.0] * (count - real)
    dice.shuffle(gains)
    return gains


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sd", type=float, default=0.25, help="of ln objective from seed to seed")
    parser.add_argument("--campaigns", type=int, default=1000, help="simulated for each row")
    options = parser.parse_args()
    rule = load_scorecard(CARD).accept
    print(
        "| candidates | truly better | fresh seeds | keeps a chance step | says a false word | "
        "true gain kept by the search | of the model that stands | of the last step confirmed by itself |"
    )
    print("|---:|---|---:|---:|---:|---:|---:|---:|")
    for count, real, gain in CAMPAIGNS:
        for plan in PLANS:
            fresh = f"{plan.seeds}, then {plan.most_seeds}" if plan.most_seeds else f"{plan.seeds}"
            dice = random.Random(f"{count} {real} {fresh}")
            runs = [
                simulate(dice, candidates(dice, count, real, gain), plan, options.sd, rule)
                for _ in range(options.campaigns)
            ]
            chance = sum(run.kept_by_chance > 0 for run in runs) / len(runs)
            false = sum(run.false_words > 0 for run in runs) / len(runs)
            gained = [(run.search_gain, run.gain, run.strict_gain) for run in runs]
            gains = (f"{sum(each) / len(runs):.2f}" for each in zip(*gained, strict=True))
            better = f"{real} by {gain:g}" if real else "none"
            print(f"| {count} | {better} | {fresh} | {chance:.0%} | {false:.1%} | {' | '.join(gains)} |")


if __name__ == "__main__":
    main()
