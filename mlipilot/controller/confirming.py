"""From what was measured with fresh seeds to the record of a confirmation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mlipilot.audit.events.concluding import Confirmed, LabelControl
from mlipilot.controller.confirmation import (
    asked_for,
    confirm,
    control_of,
    first_look,
    fresh_seeds,
    kept_steps,
    look_of,
)
from mlipilot.controller.state import State
from mlipilot.controller.verdict import Measurements, same_weights
from mlipilot.datasets.permuting import explained_by, permuted_labels
from mlipilot.evaluation.catalog import EXPLAINED
from mlipilot.evaluation.metrics_file import MetricsFile
from mlipilot.evaluation.scorecard import Score, score
from mlipilot.paths import JobKey, LineagePaths, RunPaths

_TRAIN = "train.xyz"
_NOT_MEASURED = MetricsFile(refused="it was not measured")


def compute_confirmation(state: State, measured: Measurements) -> Confirmed:
    """What fresh seeds say of the steps that the search kept; a seed without metrics has the worst score.

    Raises PausedError for a metrics file that is not the one that was measured, ValueError where
    nobody asks for a confirmation.
    """
    if (asked := asked_for(state, measured.spec)) is None:
        raise ValueError("nobody asks for a confirmation")
    look = look_of(state, asked)
    kept, seeds = kept_steps(state), fresh_seeds(state, measured.spec.seeds, look.seeds)
    found = [
        scores_of(state, measured, [JobKey(number, seed, "evaluate", fresh=True) for seed in seeds])
        for number in kept
    ]
    scores, faults = [scores for scores, _ in found], [fault for _, fault in found]
    control = _control(state, measured, kept, seeds) if asked.permuted_labels else None
    return confirm(kept, seeds, scores, faults, asked.alpha, control, look, first_look(state))


def scores_of(state: State, measured: Measurements, keys: Sequence[JobKey]) -> tuple[list[Score], str | None]:
    """The score of each evaluation, the worst where it has no metrics, and why together they say nothing.

    Raises as `compute_confirmation` does.
    """
    found = {key.seed: measured.metrics(state, key) for key in keys}
    return [score(measured.card, metrics or _NOT_MEASURED) for metrics in found.values()], same_weights(found)


def _control(state: State, measured: Measurements, kept: Sequence[int], seeds: Sequence[int]) -> LabelControl:
    evaluate = control_of(kept, seeds, "evaluate")
    ends = [state.last(key) for key in (evaluate.beside("train"), evaluate)]
    failed = [last.ended for last in ends if last is not None and last.ended and last.outcome != "ok"]
    explained, of_true = (
        _explained(measured.metrics(state, key)) for key in (evaluate, replace(evaluate, variant=""))
    )
    return LabelControl(
        seed=evaluate.seed,
        explained=explained,
        of_true=of_true,
        labels_explain=_labels_explain(measured.lineage, evaluate),
        fault=failed[0].reason or failed[0].outcome if failed else None,
    )


def _labels_explain(lineage: LineagePaths, key: JobKey) -> float:
    true = RunPaths(lineage.root.parent).data / "train"
    permuted = permuted_labels(true, key.seed)
    return explained_by(permuted[_TRAIN], true / _TRAIN) if _TRAIN in permuted else 0.0


def _explained(metrics: MetricsFile | None) -> float | None:
    return None if metrics is None else metrics.values.get(EXPLAINED)


def in_a_line(confirmed: Confirmed) -> str:
    """What came of it, for who looks on."""
    whole = confirmed.whole
    word = "confirmed" if whole.confirmed else f"not confirmed, and given up for iteration {whole.before}"
    more = f"; a second look goes on to {confirmed.goes_on_to}" if confirmed.goes_on_to else ""
    return (
        f"iteration {whole.iteration} {word} by {len(confirmed.seeds)} fresh seeds: "
        f"{whole.measure} {whole.gain:+.3f} ln units over the baseline, p = {whole.p:.2g}{more}"
    )
