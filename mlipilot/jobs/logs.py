"""Reading a job's logs: text that hostile code may have written, so it is cleaned before it is used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mlipilot.paths import STDERR, STDOUT
from mlipilot.untrusted import one_line, tail

_TAIL_BYTES = 64 * 1024
_TAIL_LINES = 400


def tail_lines(path: Path) -> list[str]:
    """The last lines of a log, cleaned; none when it is missing or no regular file."""
    try:
        return tail(path, _TAIL_LINES, _TAIL_BYTES).splitlines()
    except OSError:
        return []


def json_events(lines: list[str]) -> list[dict[str, Any]]:
    """The JSON objects with an `event` among the lines; everything else is passed over."""
    events = []
    for line in lines:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and isinstance(value.get("event"), str):
            events.append(value)
    return events


def job_events(attempt: Path) -> list[dict[str, Any]]:
    """The last events that an attempt's job printed."""
    return json_events(tail_lines(attempt / STDOUT))


def failure_reason(attempt: Path) -> str | None:
    """Why a training says it failed: its own `failed` event, else the last line on stderr."""
    for event in reversed(job_events(attempt)):
        if event["event"] == "failed":
            return one_line(str(event.get("reason", "no reason given")))
    lines = [line for line in tail_lines(attempt / STDERR) if line.strip()]
    return one_line(lines[-1]) if lines else None


def progress(attempt: Path) -> tuple[float | None, str]:
    """How far a job says it is (0…1, or None) and a few words."""
    for event in reversed(job_events(attempt)):
        step, total = event.get("step"), event.get("steps_total")
        if event["event"] == "progress" and _number(step) and _number(total) and total > 0:
            force = event.get("valid_force_mae_mev_per_a")
            words = f"step {step:g}/{total:g}" + (f", force MAE {force:.1f} meV/Å" if _number(force) else "")
            return min(max(step / total, 0.0), 1.0), one_line(words, 60)
    lines = [line for line in tail_lines(attempt / STDERR) if line.startswith("evaluate:")]
    return None, one_line(lines[-1].removeprefix("evaluate:"), 60) if lines else ""


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15
