"""Diffs, prose and logs of agents as a report shows them: cleaned, and cut where they would flood it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlipilot.untrusted import clean, clip, tail

_MAX_DIFF_LINES = 600
_MAX_DIFF_BYTES = 256 * 1024
_MAX_LINE = 400
_MAX_PROSE = 2500
_LOG_LINES = 15


def diff_text(path: Path, name: str) -> str:
    """The diff in a file; empty where there is none. A cut one says so and calls the file `name`."""
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_DIFF_BYTES + 1)
    except OSError:
        return ""
    lines = clean(data[:_MAX_DIFF_BYTES].decode("utf-8", errors="replace")).splitlines()
    shown = [clip(line, _MAX_LINE) for line in lines[:_MAX_DIFF_LINES]]
    if len(lines) > _MAX_DIFF_LINES or len(data) > _MAX_DIFF_BYTES:
        shown.append(f"… cut here; the whole diff is in {name}")
    return "\n".join(shown)


def prose(text: Any) -> str:
    """A text of several paragraphs; empty for None."""
    return clip(clean(str(text or "")).strip(), _MAX_PROSE)


def log_end(path: Path) -> str:
    """The last lines of a log; empty where it cannot be read."""
    try:
        return tail(path, _LOG_LINES)
    except OSError:
        return ""
