"""From what was measured with fresh seeds to the record of a confirmation."""

from __future__ import annotations

from mlipilot.audit.events.concluding import Confirmed
from mlipilot.controller.confirmation import asked_for, confirm, fresh_seeds, kept_steps
from mlipilot.controller.state import State
from mlipilot.controller.verdict import Measurements, same_weights
from mlipilot.evaluation.metrics_file import MetricsFile
from mlipilot.evaluation.scorecard import score
from mlipilot.paths import JobKey

_NOT_MEASURED = MetricsFile(refused="it was not measured")


def compute_confirmation(state: State, measured: Measurements) -> Confirmed:
    """What fresh seeds say of the steps that the search kept; a seed without metrics has the worst score.

    Raises PausedError for a metrics file that is not the one that was measured, ValueError where the
    nobody asks for a confirmation.
    """
    if (asked := asked_for(state, measured.spec)) is None:
        raise ValueError("nobody asks for a confirmation")
    kept, seeds = kept_steps(state), fresh_seeds(state, measured.spec.seeds, asked.seeds)
    scores, faults = [], []
    for number in kept:
        keys = [JobKey(number, seed, "evaluate", fresh=True) for seed in seeds]
        found = {key.seed: measured.metrics(state, key) for key in keys}
        scores.append([score(measured.card, metrics or _NOT_MEASURED) for metrics in found.values()])
        faults.append(same_weights(found))
    return confirm(kept, seeds, scores, faults, asked.alpha)


def in_a_line(confirmed: Confirmed) -> str:
    """What came of it, for who looks on."""
    whole = confirmed.whole
    word = "confirmed" if whole.confirmed else f"not confirmed, and given up for iteration {whole.before}"
    return (
        f"iteration {whole.iteration} {word} by {len(confirmed.seeds)} fresh seeds: "
        f"{whole.measure} {whole.gain:+.3f} ln units over the baseline, p = {whole.p:.2g}"
    )
