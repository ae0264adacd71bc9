"""Whether a candidate can still win after its first seed: one that cannot is not trained with the others.

It cannot where its first seed fails a gate and the incumbent passes all: a feasible candidate passes every
gate on every seed. And it is taken to have lost where its gain by that seed is below −2 s: s the standard
deviation from seed to seed, pooled over all candidates that were measured so far. A candidate that is as good
as the incumbent is given up so in 6 to 31 % of cases, the more often the luckier the incumbent's own seeds
were; one that is better by 2 s in 1 %. Nothing is accepted by this, so that no verdict becomes easier.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlipilot.audit.events.running import Weighed
from mlipilot.controller.accept import failed_gates, feasible, mean, pooled_noise
from mlipilot.controller.confirmation import scatter
from mlipilot.controller.state import State
from mlipilot.controller.verdict import Measurements
from mlipilot.evaluation.scorecard import Score

_LOST_BELOW_SD = -2.0


def weigh(state: State, number: int, measured: Measurements) -> Weighed:
    """What the first seed of a candidate says of its chances. Raises PausedError as `Measurements` does."""
    new, old = (measured.scores(state, each) for each in (number, state.incumbent or 0))
    return outlook(number, old, new, [measured.scores(state, each) for each in range(number)])


def outlook(
    number: int, old: Sequence[Score], new: Sequence[Score], others: Sequence[Sequence[Score]]
) -> Weighed:
    """The same by scores: the incumbent's, the candidate's so far, and those of each that was measured."""
    if feasible(old) and not feasible(new):
        lost = "its first seed fails gates that the incumbent passes: " + failed_gates(new)
        return Weighed(iteration=number, lost=lost)
    if feasible(new) != feasible(old):
        return Weighed(iteration=number)
    is_objective = feasible(new)
    before, after, *groups = (_values(scores, objective=is_objective) for scores in (old, new, *others))
    noise = pooled_noise(groups)
    if not (before and after and any(group and scatter(group) for group in groups)):
        return Weighed(iteration=number)
    gain, bound = mean(before) - mean(after), _LOST_BELOW_SD * noise.sd
    what = "objective" if is_objective else "total gate violation"
    lost = (
        f"by its first seed the {what} gains {gain:+.3f} ln units, below {bound:.3f} "
        f"(two standard deviations over {noise.degrees_of_freedom} degrees of freedom)"
    )
    return Weighed(iteration=number, gain=gain, bound=bound, lost=lost if gain < bound else None)


def _values(scores: Sequence[Score], *, objective: bool) -> list[float]:
    if not objective:
        return [score.violation for score in scores]
    return [score.log_objective for score in scores if score.log_objective is not None]
