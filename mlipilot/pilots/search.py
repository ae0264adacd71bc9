"""The search pilots: random search, TPE and CMA-ES, with the tools of any other pilot and no conversation.

They keep no state: the trials are read from the history, and the same history gets the same proposal.
`hold_numbers` is the half of them that a hybrid pilot has.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mlipilot.audit.files import write_atomic
from mlipilot.pilots.draft_files import DraftFiles
from mlipilot.pilots.edit_matching import RefusedError
from mlipilot.pilots.outcomes import GaveUp, Outcome, TurnInput
from mlipilot.pilots.sampling import Search
from mlipilot.pilots.space import RECIPE, Scalar, is_same, values_in
from mlipilot.pilots.tools import Toolbox
from mlipilot.untrusted import clip, one_line
from mlipilot.yaml_places import with_values

ATTEMPTS = 10
"""So many suggestions are made from one history; a further one is tried when one was made before."""

_NAMES = {"random": "Random search", "tpe": "TPE", "cma-es": "CMA-ES"}
_MECHANISMS = {
    "random": "None is claimed: the values are drawn from the declared space, whatever the trials say.",
    "tpe": "None is claimed of physics: the values are likely among those of the best trials, and unlikely "
    "among those of the others.",
    "cma-es": "None is claimed of physics: the values are drawn from a normal distribution whose mean and "
    "covariance follow the better trials of each generation.",
}


def propose(search: Search, turn: TurnInput) -> Outcome:
    """The first suggestion that is not refused, set in the draft and submitted with its claim.

    Gives up when none is left, or the recipe cannot be edited. Raises InputError when the package that the
    search needs is not installed.
    """
    bench, toolbox = DraftFiles(turn.draft), Toolbox(turn)
    said = ""
    try:
        text = bench.read(RECIPE)
        seen = [values_in(text, search.space)]
        suggestions = [search.suggest(turn.history, attempt) for attempt in range(ATTEMPTS)]
        while (values := next_fresh(suggestions, seen)) is not None:
            content = with_values(text, values)
            if content is None:
                return _give_up(
                    search, f"{RECIPE} no longer has each value of the space on a line of its own"
                )
            bench.write(RECIPE, content)
            seen.append(values_in(content, search.space))
            submitted = toolbox.call("submit_experiment", _claim(search, turn.history, seen[-1]))
            if submitted.outcome is not None:
                return submitted.outcome
            said = f"; of the last it was said: {submitted.text}"
    except RefusedError as refusal:
        return _give_up(search, str(refusal))
    return _give_up(search, f"none of {ATTEMPTS} suggestions is new{said}")


def next_fresh(
    suggestions: Sequence[dict[str, Scalar]], seen: Sequence[dict[str, Scalar]]
) -> dict[str, Scalar] | None:
    """A suggestion that was not `seen` in this iteration; None when all of them were.

    A draft that holds one already has come back, refused for some reason, and so have those before it: the
    next one is taken, while there is one.
    """
    new = [at for at, values in enumerate(suggestions) if not any(_equal(values, other) for other in seen)]
    last_seen = max(set(range(len(suggestions))) - set(new), default=-1)
    chosen = next((at for at in new if at > last_seen), new[0] if new else None)
    return None if chosen is None else suggestions[chosen]


def hold_numbers(turn: TurnInput, search: Search) -> TurnInput:
    """The turn of a hybrid pilot: TPE's values stand in the draft and are not the language model's to edit.

    They do so before the model reads the recipe, so that its claim is about what will be trained. A draft
    that came back keeps its values: it is the model that is asked to mend it.
    """
    recipe = turn.draft / RECIPE
    text = recipe.read_text(encoding="utf-8")
    if turn.feedback is not None:
        return replace(turn, held=values_in(text, search.space))
    values = search.suggest(turn.history)
    edited = with_values(text, values)
    if edited is None:
        raise AssertionError("each value of the space was on one line, and no edit may change that")
    write_atomic(recipe, edited)
    return replace(turn, held=values)


def _equal(a: dict[str, Scalar], b: dict[str, Scalar]) -> bool:
    return a.keys() == b.keys() and all(is_same(a[path], b[path]) for path in a)


def _claim(search: Search, history: Sequence[dict[str, Any]], values: dict[str, Scalar]) -> dict[str, Any]:
    """The claim: honest about who proposes, and that it may fail like any other."""
    name, trials = _NAMES[search.kind], len(search.trials(history))
    waits = search.kind == "tpe" and trials < search.startup
    listed = ", ".join(f"{path} = {json.dumps(value)}" for path, value in values.items())
    hypothesis = (
        f"{name} proposes, after {trials} trial{'' if trials == 1 else 's'}, {listed}. "
        "The total gate violation decreases or, where every gate is passed, the objective. "
        + (f"It still draws at random: it waits for {search.startup} trials." if waits else "")
    )
    return {
        "title": f"{name}, suggestion {max((entry['iteration'] for entry in history), default=0) + 1}",
        "hypothesis": clip(hypothesis.strip(), 2000),
        "mechanism": _MECHANISMS["random" if waits else search.kind],
        "expected_effect": [{"metric": metric, "direction": "decrease"} for metric in search.metrics[:8]],
    }


def _give_up(search: Search, reason: str) -> GaveUp:
    return GaveUp(one_line(f"{_NAMES[search.kind]}: {reason}", 1000))
