"""The scripted pilot: textbook moves in a fixed order, decided from the conversation alone.

It is no language model and is called scripted wherever it shows. It keeps no state: the same conversation
always gets the same answer.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mlipilot.pilots.calls import Call, calls_made, last_result
from mlipilot.pilots.hypothesis import Hypothesis
from mlipilot.pilots.loopback import Decider
from mlipilot.pilots.outcomes import CAME_BACK
from mlipilot.pilots.space import RECIPE
from mlipilot.yaml_io import load_yaml_model
from mlipilot.yaml_places import editable_places, with_values

MOVES = Path(__file__).parent / "scripted_moves.yaml"
NEEDED_TOOLS = frozenset(
    {"show_history", "list_files", "read_file", "set_value", "submit_experiment", "give_up"}
)


class Edit(BaseModel):
    """One value of recipe.yaml to set."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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


class MoveList(BaseModel):
    """The moves in the order in which they are tried."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    moves: list[Move]


def scripted_pilot(path: Path = MOVES) -> Decider:
    """The scripted pilot, to be served; its moves are those in a file. Raises InputError."""
    moves = load_moves(path)
    return Decider("scripted", NEEDED_TOOLS, lambda told, tools: next_call(told, fitting_moves(moves, tools)))


def load_moves(path: Path = MOVES) -> list[Move]:
    """The moves in a file. Raises InputError."""
    return load_yaml_model(path, MoveList).moves


def fitting_moves(moves: list[Move], tools: list[Any]) -> list[Move]:
    """Those whose claim can be made: of metrics that `submit_experiment` knows in this campaign."""
    for tool in tools:
        if tool["function"]["name"] == "submit_experiment":
            claim = tool["function"]["parameters"]["properties"]["expected_effect"]
            known = claim["items"]["properties"]["metric"].get("enum")
            if known is not None:
                return [m for m in moves if all(effect.metric in known for effect in m.expected_effect)]
    return moves


def next_call(messages: list[Any], moves: list[Move]) -> Call:
    """The next call of the scripted pilot in a conversation."""
    made = calls_made(messages)
    if _came_back(messages):
        return _give_up("it mends no draft")
    refused = next((call for call in reversed(made) if call.is_refused), None)
    if refused is not None:
        return _give_up(f"{refused.name} was refused: {refused.result}")
    for name, arguments in (("show_history", {}), ("list_files", {}), ("read_file", {"path": RECIPE})):
        if last_result(made, name) is None:
            return Call(name, arguments)
        if name == "list_files" and RECIPE not in (last_result(made, name) or "").splitlines():
            return _give_up(f"there is no {RECIPE} among the files")
    titles = _titles(last_result(made, "show_history") or "")
    if titles is None:
        return _give_up("the history is not in a form that it can read")
    return _play(last_result(made, "read_file") or "", titles, moves, made)


def _came_back(messages: list[Any]) -> bool:
    """Whether the turn is about a draft that was submitted before."""
    told = (str(message.get("content")) for message in messages if message.get("role") == "user")
    return any(line.startswith(CAME_BACK) for text in told for line in text.splitlines())


def _titles(history: str) -> set[str] | None:
    try:
        return {str(entry["title"]) for entry in json.loads(history)}
    except (ValueError, TypeError, KeyError):
        return None


def _play(read: str, titles: set[str], moves: list[Move], made: list[Call]) -> Call:
    """The next edit of the first move that is new and changes anything, or its submission."""
    for move in moves:
        if move.title in titles:
            continue
        places = editable_places(read, [edit.key for edit in move.edits])
        missing = [key for key, place in places.items() if place is None]
        if missing:
            return _give_up(f"{RECIPE} has no key {missing[0]!r} on one line, which {move.title!r} sets")
        if _to_set(read, move):
            return _next_edit(_as_edited(read, made), move)
    return _give_up("every textbook move has been tried")


def _to_set(text: str, move: Move) -> list[Edit]:
    """What of the move the recipe does not say yet."""
    places = editable_places(text, [edit.key for edit in move.edits])
    return [edit for edit in move.edits if (place := places[edit.key]) and place.value != edit.value]


def _as_edited(text: str, made: list[Call]) -> str:
    """The recipe as it stands after the edits of this conversation."""
    for call in made:
        if call.name == "set_value":
            text = with_values(text, {call.arguments["key"]: call.arguments["value"]}) or text
    return text


def _next_edit(text: str, move: Move) -> Call:
    for edit in _to_set(text, move):
        return Call("set_value", edit.model_dump())
    return Call("submit_experiment", move.model_dump(exclude={"edits"}))


def _give_up(reason: str) -> Call:
    return Call("give_up", {"reason": f"scripted pilot: {reason}"})
