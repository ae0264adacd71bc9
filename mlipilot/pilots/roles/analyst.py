"""The analyst: turns the outcome of an experiment into one lesson for the notebook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlipilot.endpoint.exchange import Completer
from mlipilot.endpoint.parsing import ToolCall
from mlipilot.pilots.history_told import Room, lesson_lines
from mlipilot.pilots.prompt_texts import render
from mlipilot.pilots.roles.asking import Recorder, ask_role, function, reread_role
from mlipilot.pilots.tools import as_json
from mlipilot.untrusted import clean, clip, one_line

MAX_LESSON = 400
"""The longest lesson, in characters."""
_TOOLS = [
    function(
        "write_lesson",
        "Write the one lesson of this experiment into the notebook.",
        lesson="one or two sentences: what was changed, what it did to which metric, by how much; no advice "
        "beyond what the numbers show",
    )
]


@dataclass(frozen=True)
class LessonInput:
    """What an analyst sees of a judged experiment."""

    entry: dict[str, Any]
    """The experiment, as in `TurnInput.history`."""
    before: dict[str, float]
    """The metrics of the recipe that it was compared with."""
    lessons: Sequence[str]
    """The notebook so far, the newest last."""
    room: Room


def draw_lesson(completer: Completer, judged: LessonInput, record: Recorder) -> str | None:
    """The lesson on one line, or None when the analyst gave none that could be understood.

    Raises PausedError when the endpoint cannot be had.
    """
    entry = judged.entry
    task = render(
        "analyst_task.jinja",
        title=one_line(str(entry["title"]), 200),
        hypothesis=one_line(str(entry["hypothesis"]), 1000),
        verdict=one_line(str(entry["verdict"]), 20),
        reason=one_line(str(entry["reason"]), 600),
        effects=as_json(entry["effects"]),
        metrics={name: (judged.before.get(name), value) for name, value in entry["metrics"].items()},
        diff=clip(clean(entry["diff"]), min(6000, judged.room.characters(1 / 8))),
        lessons=lesson_lines(judged.lessons, judged.room),
    )
    return _lesson(*ask_role(completer, render("analyst.jinja"), task, _TOOLS, record))


def reread_lesson(completer: Completer) -> str | None:
    """What an analyst's replies were taken for: `completer` gives them once more, whatever it is asked.

    Raises as `completer` does.
    """
    return _lesson(*reread_role(completer, _TOOLS))


def _lesson(call: ToolCall | None, text: str) -> str | None:
    said = call.arguments["lesson"] if call is not None else text
    return one_line(said, MAX_LESSON) or None
