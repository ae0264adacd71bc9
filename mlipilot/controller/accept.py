"""The accept rule: hard gates first, then the objective, and a gain counts only beyond the noise.

Every candidate is trained with the same few seeds. The noise is the standard deviation of a score over
seeds, pooled over the two candidates c that are compared (Student's two-sample test):

    s² = Σ_c Σ_i (x_ci − x̄_c)² / ν,   ν = Σ_c (n_c − 1)

A gain must exceed  t(confidence, ν) · s · sqrt(1/n_incumbent + 1/n_candidate),  Student's one-sided
quantile, and `min_gain`. Other candidates of the lineage do not count: a bad recipe scatters far more from
seed to seed than a good one, and would hide the good ones' gains. Both scores are logarithms (ln objective;
gate violation in ln units), so a gain is a relative one. With one seed there is no measured noise and only
`min_gain` guards; the verdict says so.

Of the objective's terms none gives more to a gain than `max_term_gain`. Where one term alone gains, and
another worsens beyond its own noise, the verdict says so: that may be a gain of how the term is measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mlipilot.evaluation.scorecard import AcceptRule, Score

Verdict = Literal["accepted", "reverted", "invalid"]


def student_t(probability: float, degrees_of_freedom: int) -> float:
    """The quantile of Student's t distribution."""
    from scipy.special import stdtrit  # here, because it would make every command a third slower to start

    return float(stdtrit(degrees_of_freedom, probability))


@dataclass(frozen=True)
class Noise:
    """Pooled standard deviation over seeds, and its degrees of freedom."""

    sd: float
    degrees_of_freedom: int

    def threshold(self, n_old: int, n_new: int, confidence: float) -> float:
        """The smallest difference of two means that counts at `confidence`; 0 where no noise is known."""
        if self.degrees_of_freedom == 0:
            return 0.0
        quantile = student_t(confidence, self.degrees_of_freedom)
        return quantile * self.sd * math.sqrt(1 / n_old + 1 / n_new)


@dataclass(frozen=True)
class Judgement:
    """A verdict with the numbers that it rests on; gain and threshold in ln units."""

    verdict: Verdict
    reason: str
    gain: float | None = None
    threshold: float | None = None
    measure: Literal["violation", "objective"] | None = None


def pooled_noise(groups: Sequence[Sequence[float]]) -> Noise:
    """The noise of repeated measurements, one group of values a candidate."""
    squares = sum((x - mean(group)) ** 2 for group in groups for x in group)
    freedom = sum(len(group) - 1 for group in groups if group)
    return Noise(math.sqrt(squares / freedom) if freedom else 0.0, freedom)


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean."""
    return math.fsum(values) / len(values)


def mean_of_all(values: Sequence[float | None]) -> float | None:
    """The mean of one value a seed; None where a seed has none, and where there is no seed."""
    known = [value for value in values if value is not None]
    return mean(known) if known and len(known) == len(values) else None


def feasible(scores: Sequence[Score]) -> bool:
    """A candidate is feasible if every seed passes every gate."""
    return all(score.feasible for score in scores)


def judge(rule: AcceptRule, old: Sequence[Score], new: Sequence[Score]) -> Judgement:
    """Compare the incumbent's and a candidate's scores, one a seed, both measured in full."""
    if feasible(old) and not feasible(new):
        return Judgement("reverted", "fails gates that the incumbent passes: " + failed_gates(new))
    if feasible(new) and not feasible(old):
        return Judgement("accepted", "passes every gate on every seed; the incumbent does not")
    if feasible(new):
        return _compare(rule, old, new, "objective")
    return _compare(rule, old, new, "violation")


def order(scores: Sequence[Score]) -> tuple[bool, float]:
    """Where a candidate stands in the rule's order, the noise aside: the smaller, the better.

    Feasible ones come first, by their mean ln objective; the others follow, by their mean violation.
    `judge` accepts only what comes before the incumbent in this order.
    """
    if not feasible(scores):
        return True, mean([score.violation for score in scores])
    objective = mean_of_all([score.log_objective for score in scores])
    return False, math.inf if objective is None else objective


def failed_gates(scores: Sequence[Score]) -> str:
    """The names of the gates that fail on some seed."""
    return ", ".join(dict.fromkeys(g.metric for s in scores for g in s.gates if not g.passed))


def _values(scores: Sequence[Score], measure: str) -> list[float]:
    if measure == "violation":
        return [score.violation for score in scores]
    return [score.log_objective for score in scores if score.log_objective is not None]


def _compare(
    rule: AcceptRule,
    old: Sequence[Score],
    new: Sequence[Score],
    measure: Literal["violation", "objective"],
) -> Judgement:
    before, after = _values(old, measure), _values(new, measure)
    if len(after) < len(new):
        return Judgement("reverted", "the objective cannot be computed on every seed", measure=measure)
    if len(before) < len(old):
        return Judgement("accepted", "the incumbent's objective cannot be computed", measure=measure)
    noise = pooled_noise([before, after])
    minimum = -math.log1p(-rule.min_gain)
    beyond, told = _term_by_term(rule, old, new) if measure == "objective" else (0.0, "")
    gain = mean(before) - mean(after) - beyond
    threshold = max(minimum, noise.threshold(len(before), len(after), rule.confidence))
    what = "total gate violation" if measure == "violation" else "objective"
    if measure == "violation":
        figures = f"{what} {mean(before):.3f} → {mean(after):.3f} ln units"
    else:
        figures = f"{what} {math.exp(mean(before)):.4g} → {math.exp(mean(after)):.4g}"
    basis = (
        f"noise s = {noise.sd:.3f} over {noise.degrees_of_freedom} degrees of freedom"
        if noise.degrees_of_freedom
        else "one seed: the noise is not known"
    )
    comparison = f"{figures}; gain {gain:+.3f}, needed > {threshold:.3f} ({basis}){told}"
    if gain > threshold:
        return Judgement("accepted", comparison, gain, threshold, measure)
    return Judgement("reverted", comparison, gain, threshold, measure)


def _term_by_term(rule: AcceptRule, old: Sequence[Score], new: Sequence[Score]) -> tuple[float, str]:
    """How much of the gain does not count, in ln units, and what is to be said of the terms that gave it."""
    cap, minimum = rule.max_term_gain, -math.log1p(-rule.min_gain)
    if cap is None:
        return 0.0, ""
    gains, noises = {}, {}
    for name in new[0].terms:
        before, after = ([score.terms[name] for score in scores] for scores in (old, new))
        gains[name] = mean(before) - mean(after)
        noise = pooled_noise([before, after]).threshold(len(before), len(after), rule.confidence)
        noises[name] = max(noise, minimum)
    above = {name: gain - cap for name, gain in gains.items() if gain > cap}
    told = "".join(f"; {name} gives {gains[name]:+.3f}, of which {cap:g} counts" for name in above)
    better = [name for name, gain in gains.items() if gain > noises[name]]
    worse = [name for name, gain in gains.items() if -gain > noises[name]]
    if len(better) == 1 and worse:
        told += (
            f"; the gain is of {better[0]} alone, and {', '.join(worse)} worsened beyond the noise: "
            "it is not confirmed by other seeds and starts"
        )
    return math.fsum(above.values()), told
