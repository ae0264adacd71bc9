"""The ablation: what each kept step is worth in the model that stands, by taking it out of its recipe.

The confirmation compares each step with the one before it. Here the model that stands is compared with
itself less one step, which is another question: what came later may have made a step idle, or need it. Both
are trained with the fresh seeds of the confirmation, so that a difference is one of pairs:

    d̄ ± t(0.975, k − 1) · s_d / √k,  d_i the loss of what is taken out, with seed i, in ln units.

The interval is Student's, for each step by itself: nothing is decided by it, so nothing corrects for several.
Where no seed differs from another there is none. What cannot be trained has no worth: that is said of it.
A step whose lines a later one has changed cannot be taken out; that is said of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from mlipilot.audit.events.concluding import Ablated, AblationAsked, StepToTakeOut, StepWorth
from mlipilot.controller.accept import mean, pooled_noise, student_t
from mlipilot.controller.confirmation import compare, kept_steps, scatter
from mlipilot.controller.confirming import scores_of
from mlipilot.controller.state import State
from mlipilot.controller.undoing import digest_of, tree, undone
from mlipilot.controller.verdict import Measurements
from mlipilot.paths import JobKey, JobKind, LineagePaths, without

_TWO_SIDED = 0.975


def why_not_to_be_ablated(state: State) -> str | None:
    """Why nobody can ask for an ablation now, or None."""
    if state.finished is None:
        return "the lineage is not over: resume it first"
    if state.confirmed is None:
        return "no fresh seeds have confirmed anything: `mlipilot confirm` asks for that"
    if not state.confirmed.whole.confirmed:
        return "fresh seeds confirmed no step: there is nothing to take out"
    if state.ablation_asked is not None:
        return "the lineage has been ablated already"
    return None


def to_take_out(state: State, lineage: LineagePaths) -> AblationAsked:
    """Each confirmed step, and the digest of the recipe without it; None where that is not to be had.

    Raises ValueError where nothing was confirmed.
    """
    if state.confirmed is None:
        raise ValueError("nothing was confirmed")
    found = []
    for step in state.confirmed.steps:
        files = recipe_without(state, lineage, step.iteration)
        digest = None if files is None else digest_of(files)
        found.append(StepToTakeOut(iteration=step.iteration, recipe_digest=digest))
    return AblationAsked(steps=found)


def recipe_without(state: State, lineage: LineagePaths, number: int) -> dict[str, bytes] | None:
    """The files of the recipe that stands without a kept step, or None. Raises as `to_take_out` does."""
    if state.confirmed is None:
        raise ValueError("nothing was confirmed")
    before = {step.iteration: step.before for step in state.confirmed.steps}[number]
    old, new, now = (tree(lineage.recipe(each)) for each in (before, number, state.confirmed.whole.iteration))
    return undone(old, new, now)


def ablation_keys(state: State, kind: JobKind) -> dict[int, list[JobKey]]:
    """The jobs of each step that can be taken out, one a fresh seed.

    Without the last step the recipe is the one before it, which has been trained with them.
    """
    if state.ablation_asked is None or state.confirmed is None:
        return {}
    standing = state.confirmed.whole.iteration
    trained = {state.iterations[number].recipe_digest: number for number in kept_steps(state)}
    found = {}
    for step in state.ablation_asked.steps:
        if step.recipe_digest is None:
            continue
        earlier = trained.get(step.recipe_digest)
        keys = [JobKey(standing, seed, kind, fresh=True) for seed in state.confirmed.seeds]
        found[step.iteration] = [
            replace(key, variant=without(step.iteration))
            if earlier is None
            else replace(key, iteration=earlier)
            for key in keys
        ]
    return found


def compute_ablation(state: State, measured: Measurements) -> Ablated:
    """What each step is worth.

    Raises PausedError for a metrics file that is not the one that was measured.
    """
    if state.ablation_asked is None or state.confirmed is None:
        raise ValueError("nobody asks for an ablation")
    standing = [
        JobKey(state.confirmed.whole.iteration, s, "evaluate", fresh=True) for s in state.confirmed.seeds
    ]
    keys = ablation_keys(state, "evaluate")
    return Ablated(
        steps=[
            _worth(state, measured, step, keys.get(step.iteration), standing)
            for step in state.ablation_asked.steps
        ]
    )


def _worth(
    state: State,
    measured: Measurements,
    step: StepToTakeOut,
    keys: Sequence[JobKey] | None,
    standing: Sequence[JobKey],
) -> StepWorth:
    if keys is None:
        return StepWorth(iteration=step.iteration, fault="later steps have changed its lines")
    if (failed := _failed(state, [*keys, *standing])) is not None:
        return StepWorth(iteration=step.iteration, fault=failed)
    pairs = [scores_of(state, measured, each) for each in (keys, standing)]
    found = compare(0, 1, [scores for scores, _ in pairs], [fault for _, fault in pairs])
    sd = pooled_noise([found.gains]).sd
    half = student_t(_TWO_SIDED, len(found.gains) - 1) * sd / math.sqrt(len(found.gains))
    return StepWorth(
        iteration=step.iteration,
        measure=found.measure,
        worth=mean(found.gains),
        half_width=half if scatter(found.gains) else None,
        passed=sum(score.feasible for score in pairs[0][0]),
        fault=found.fault,
    )


def _failed(state: State, evaluations: Sequence[JobKey]) -> str | None:
    """Why one of them, or the training before it, gave nothing to compare."""
    for key in (key for evaluate in evaluations for key in (evaluate.beside("train"), evaluate)):
        last = state.last(key)
        if last is not None and last.ended is not None and last.outcome != "ok":
            return f"{key.text}: {last.ended.reason or last.outcome}"
    return None
