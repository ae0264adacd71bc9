"""The scripted pilot: textbook moves in a fixed order, made with the tools of any other pilot.

It is no language model and is called scripted wherever it shows. It keeps no state: the same history and
recipe always get the same move.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, field_validator

from mlipilot.pilots.conversing import next_call
from mlipilot.pilots.hypothesis import Hypothesis
from mlipilot.pilots.loopback import Decider
from mlipilot.pilots.outcomes import GaveUp, Outcome
from mlipilot.pilots.space import RECIPE
from mlipilot.pilots.tools import ToolResult, Tools
from mlipilot.untrusted import one_line
from mlipilot.yaml_io import load_yaml_model
from mlipilot.yaml_places import editable_places

MOVES = Path(__file__).parent / "scripted_moves.yaml"
NEEDED_TOOLS = frozenset(
    {"show_history", "list_files", "read_file", "set_value", "submit_experiment", "give_up"}
)


class Edit(BaseModel, extra="forbid", frozen=True):
    """One value of recipe.yaml to set."""

    key: str = Field(pattern=r"^\w+(\.\w+)*$")
    value: Any

    @field_validator("value")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        """Without the YAML reader's own types, which remember how a number was written."""
        return json.loads(json.dumps(value))


class Move(Hypothesis):
    """A textbook hypothesis with the edits that test it."""

    edits: list[Edit] = Field(min_length=1)


class MoveList(BaseModel, extra="forbid", frozen=True):
    """The moves in the order in which they are tried."""

    moves: list[Move]


def scripted_pilot(path: Path = MOVES) -> Decider:
    """The scripted pilot, to be served; its moves are those in a file. Raises InputError."""
    return Decider("scripted", NEEDED_TOOLS, partial(next_call, partial(propose, load_moves(path))))


def load_moves(path: Path = MOVES) -> list[Move]:
    """The moves in a file. Raises InputError."""
    return load_yaml_model(path, MoveList).moves


def fitting_moves(moves: Sequence[Move], metrics: Collection[str]) -> list[Move]:
    """Those whose claim can be made: of `metrics` alone, or of any where none are given."""
    return [m for m in moves if not metrics or all(effect.metric in metrics for effect in m.expected_effect)]


class NoMoveError(Exception):
    """There is no move to be made; its text says why."""


def next_move(text: str, titles: Collection[str], moves: Sequence[Move]) -> Move:
    """The first move whose title is new, with those of its edits that change anything in a recipe.yaml.

    Raises NoMoveError when there is none, or the recipe has no place for what it sets.
    """
    for move in moves:
        if move.title in titles:
            continue
        edits, places = [], editable_places(text, [edit.key for edit in move.edits])
        for edit in move.edits:
            place = places[edit.key]
            if place is None:
                raise NoMoveError(f"{RECIPE} has no key {edit.key!r} on one line, which {move.title!r} sets")
            if place.value != edit.value:
                edits.append(edit)
        if edits:
            return move.model_copy(update={"edits": edits})
    raise NoMoveError("every textbook move has been tried")


def propose(moves: Sequence[Move], turn: Tools) -> Outcome:
    """The next of the moves, set in the draft and submitted; gives up when there is none to be made."""
    if turn.came_back:
        return _give_up("it mends no draft")
    try:
        history, files = (_told(turn, name, {}).text for name in ("show_history", "list_files"))
        if RECIPE not in files.splitlines():
            return _give_up(f"there is no {RECIPE} among the files")
        text = _told(turn, "read_file", {"path": RECIPE}).text
        move = next_move(text, _titles(history), fitting_moves(moves, turn.metrics))
        for edit in move.edits:
            _told(turn, "set_value", edit.model_dump())
        submitted = _told(turn, "submit_experiment", move.model_dump(exclude={"edits"}))
    except NoMoveError as why:
        return _give_up(str(why))
    return submitted.outcome or _give_up("the turn goes on after its end")


def _told(turn: Tools, name: str, arguments: dict[str, Any]) -> ToolResult:
    result = turn.call(name, arguments)
    if result.text.startswith("error:"):
        raise NoMoveError(f"{name} was refused: {result.text}")
    return result


def _titles(history: str) -> set[str]:
    try:
        return {str(entry["title"]) for entry in json.loads(history)}
    except (ValueError, TypeError, KeyError):
        raise NoMoveError("the history is not in a form that it can read") from None


def _give_up(reason: str) -> GaveUp:
    return GaveUp(one_line(f"scripted pilot: {reason}", 1000))
