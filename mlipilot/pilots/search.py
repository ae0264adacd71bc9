"""The search pilots: random search, TPE and CMA-ES through the same tool calls as a language model.

They keep no state: the trials are read from the history that the conversation shows, and the same
conversation always gets the same answer. `hold_numbers` is the half of them that a hybrid pilot has.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mlipilot.audit.files import write_atomic
from mlipilot.pilots.calls import Call, calls_made, last_result
from mlipilot.pilots.loopback import Decider, LoopbackServer
from mlipilot.pilots.outcomes import TurnInput
from mlipilot.pilots.sampling import Search
from mlipilot.pilots.space import RECIPE, Scalar, is_same, values_in
from mlipilot.untrusted import clip
from mlipilot.yaml_places import with_values

NEEDED_TOOLS = frozenset({"show_history", "read_file", "write_file", "submit_experiment", "give_up"})
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


class SearchServer(LoopbackServer):
    """A search pilot's server. Raises InputError when the package that it needs is not installed."""

    def __init__(self, search: Search, port: int = 0) -> None:
        search.suggest([])  # so that a missing package is told now, and not by an endpoint that fails
        super().__init__(
            Decider(search.kind, NEEDED_TOOLS, lambda messages, _: next_call(messages, search)), port
        )


def next_call(messages: list[Any], search: Search) -> Call:
    """The next call of a search pilot in a conversation."""
    made = calls_made(messages)
    for name, arguments in (("show_history", {}), ("read_file", {"path": RECIPE})):
        if last_result(made, name) is None:
            return Call(name, arguments)
    newest = made[-1]
    if newest.is_refused and newest.name != "submit_experiment":
        return _give_up(search, f"{newest.name} was refused: {newest.result}")
    history = _entries(last_result(made, "show_history") or "")
    if history is None:
        return _give_up(search, "the history is not in a form that it can read")
    if newest.name == "write_file":
        return _submission(search, history, values_in(newest.arguments["content"], search.space))
    texts = [last_result(made, "read_file") or ""]
    texts += [call.arguments["content"] for call in made if call.name == "write_file"]
    values = fresh_values(search, history, [values_in(text, search.space) for text in texts])
    if values is None:
        said = f"; of the last it was said: {newest.result}" if newest.is_refused else ""
        return _give_up(search, f"none of {ATTEMPTS} suggestions is new{said}")
    content = with_values(texts[0], values)
    if content is None:
        return _give_up(search, f"{RECIPE} no longer has each value of the space on a line of its own")
    return Call("write_file", {"path": RECIPE, "content": content})


def fresh_values(
    search: Search, history: Sequence[dict[str, Any]], seen: Sequence[dict[str, Scalar]]
) -> dict[str, Scalar] | None:
    """A suggestion that was not `seen` in this iteration; None when all ATTEMPTS of them were.

    A draft that holds one already has come back, refused for some reason, and so have those before it: the
    next one is taken, while there is one.
    """
    suggestions = [search.suggest(history, attempt) for attempt in range(ATTEMPTS)]
    new = [at for at, values in enumerate(suggestions) if not any(_equal(values, other) for other in seen)]
    last_seen = max(set(range(ATTEMPTS)) - set(new), default=-1)
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


def _entries(history: str) -> list[dict[str, Any]] | None:
    try:
        entries = json.loads(history)
    except ValueError:
        return None
    good = isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)
    return entries if good else None


def _submission(search: Search, history: list[dict[str, Any]], values: dict[str, Scalar]) -> Call:
    """The claim: honest about who proposes, and that it may fail like any other."""
    name, trials = _NAMES[search.kind], len(search.trials(history))
    waits = search.kind == "tpe" and trials < search.startup
    listed = ", ".join(f"{path} = {json.dumps(value)}" for path, value in values.items())
    hypothesis = (
        f"{name} proposes, after {trials} trial{'' if trials == 1 else 's'}, {listed}. "
        "The total gate violation decreases or, where every gate is passed, the objective. "
        + (f"It still draws at random: it waits for {search.startup} trials." if waits else "")
    )
    claim = {
        "title": f"{name}, suggestion {max((entry['iteration'] for entry in history), default=0) + 1}",
        "hypothesis": clip(hypothesis.strip(), 2000),
        "mechanism": _MECHANISMS["random" if waits else search.kind],
        "expected_effect": [{"metric": metric, "direction": "decrease"} for metric in search.metrics[:8]],
    }
    return Call("submit_experiment", claim)


def _give_up(search: Search, reason: str) -> Call:
    return Call("give_up", {"reason": clip(f"{_NAMES[search.kind]}: {reason}", 1000)})
