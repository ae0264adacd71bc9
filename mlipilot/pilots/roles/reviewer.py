"""The reviewer: sees a claim and its diff before anything is trained, and may send it back once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlipilot.endpoint.exchange import Completer
from mlipilot.endpoint.parsing import ToolCall
from mlipilot.pilots.history_told import Room, history_lines
from mlipilot.pilots.prompt_texts import render
from mlipilot.pilots.roles.asking import Recorder, ask_role, function, reread_role
from mlipilot.pilots.roles.reading_order import in_reading_order
from mlipilot.untrusted import one_line

_TOOLS = [
    function("approve", "The experiment is worth its training.", reason="one sentence: why"),
    function(
        "send_back",
        "The experiment should be changed before it is trained.",
        objections="what is wrong, and what would mend it; short and concrete",
    ),
]


@dataclass(frozen=True)
class ReviewInput:
    """What a reviewer sees of a draft."""

    hypothesis: dict[str, Any]
    """title, hypothesis, mechanism, expected_effect."""
    diff: str
    """From the incumbent's recipe to the draft, unified."""
    history: Sequence[dict[str, Any]]
    """As in `TurnInput`."""
    max_steps: int
    """Optimiser steps of one training."""
    room: Room
    held: Sequence[str] = ()
    """Values of the recipe, by dotted path, that a numerical search has set and not the researcher."""


@dataclass(frozen=True)
class Review:
    """The reviewer's word. `text`: the objections, or why it approves."""

    approved: bool
    text: str


def review(completer: Completer, draft: ReviewInput, record: Recorder) -> Review:
    """Ask the reviewer. One that cannot be understood approves, and the text says so.

    A change that it cannot be shown whole goes back, whatever it says. Raises PausedError when the endpoint
    cannot be had.
    """
    diff, lacking = _shown(draft.diff, draft.room)
    experiments, earlier = history_lines(draft.history, draft.room)
    task = render(
        "reviewer_task.jinja",
        claim={
            key: one_line(str(draft.hypothesis[key]), 2000) for key in ("title", "hypothesis", "mechanism")
        },
        effects=[
            f"{effect['metric']}: {effect['direction']}" for effect in draft.hypothesis["expected_effect"]
        ],
        diff=diff,
        held=draft.held,
        experiments=experiments,
        earlier=earlier,
    )
    system = render("reviewer.jinja", max_steps=draft.max_steps)
    call, _ = ask_role(completer, system, task, _TOOLS, record)
    return _word(call, lacking)


def reread_review(completer: Completer, diff: str, room: Room) -> Review:
    """What a reviewer's replies were taken for: `completer` gives them once more, whatever it is asked.

    `diff` and `room`: as the reviewer was shown them. Raises as `completer` does.
    """
    call, _ = reread_role(completer, _TOOLS)
    return _word(call, _shown(diff, room)[1])


def _shown(diff: str, room: Room) -> tuple[str, int]:
    return in_reading_order(diff, room.characters(1 / 2))


def _word(call: ToolCall | None, lacking: int) -> Review:
    if lacking and (call is None or call.name == "approve"):
        return Review(False, f"{lacking} changed lines do not fit into what a reviewer can read: change less")
    if call is None:
        return Review(True, "the reviewer gave no answer that could be understood")
    approved = call.name == "approve"
    text = call.arguments["reason" if approved else "objections"]
    return Review(approved, one_line(text, 1500) or "no reason was given")
