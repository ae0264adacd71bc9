"""The texts that a language model is given: Jinja files in `prompts/`; an undefined name is an error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mlipilot.audit.files import sha256_bytes
from mlipilot.endpoint.modes import tools_as_text
from mlipilot.evaluation.catalog import metric_unit
from mlipilot.pilots.history_told import Room, feedback_text, history_lines, lesson_lines, recipe_texts
from mlipilot.pilots.outcomes import CAME_BACK, TurnInput
from mlipilot.pilots.tools import tool_schemas
from mlipilot.untrusted import as_data, one_line

_FOLDER = Path(__file__).parent / "prompts"
_LOGS_NAMED = 20
Nudge = Literal["cut_off", "no_call", "repeated"]


def first_messages(turn: TurnInput, files: Mapping[str, str], room: Room) -> list[dict[str, Any]]:
    """The conversation that a turn begins with: what the pilot is, and what it knows.

    `files` are the texts of the draft by name; `room` decides how much of them and of the past is told.
    """
    experiments, earlier = history_lines(turn.history, room)
    system = render("system.jinja", max_steps=turn.max_steps, seeds=turn.seeds)
    task = render(
        "task.jinja",
        iteration=turn.iteration,
        iterations_left=turn.iterations_left,
        replies=turn.replies,
        briefing=turn.briefing,
        gates=turn.scorecard["gates"],
        objective=turn.scorecard.get("objective"),
        experiments=experiments,
        earlier=earlier,
        lessons=lesson_lines(turn.lessons, room),
        files=sorted(files),
        texts=recipe_texts(files.items(), room),
        logs=sorted(turn.logs)[-_LOGS_NAMED:],
        feedback=turn.feedback,
        said="" if turn.feedback is None else feedback_text(turn.feedback.text, room),
        came_back=CAME_BACK,
        held=turn.held,
    )
    return [{"role": "system", "content": system}, {"role": "user", "content": task}]


def nudge(kind: Nudge) -> str:
    """What a pilot is told when a reply of its led nowhere."""
    return render("nudges.jinja", kind=kind)


def prompts_digest() -> str:
    """SHA-256 over every text that shapes a pilot: the prompt files and the tools' schemas."""
    files = {path.name: path.read_text(encoding="utf-8") for path in sorted(_FOLDER.glob("*.jinja"))}
    tools = tool_schemas()
    shaping = {"files": files, "tools": tools, "tools_as_text": tools_as_text(tools)}
    return sha256_bytes(json.dumps(shaping, sort_keys=True).encode())


def render(name: str, **values: Any) -> str:
    """A prompt file with its values filled in; an undefined name raises jinja2.UndefinedError."""
    return _environment().get_template(name).render(**values).strip()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - plain text for a model, no HTML
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
    )
    environment.filters |= {"line": _line, "data": as_data, "mark": _mark}
    environment.filters |= {"number": _number, "unit": metric_unit}
    return environment


def _line(value: object, limit: int = 200) -> str:
    return "" if value is None else one_line(str(value), limit)


def _mark(text: str) -> str:
    """Of a text's own digest, so that no text can hold its own closing line."""
    return sha256_bytes(text.encode())[:12]


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4g}"
