"""Whether an evaluation measured as the baseline's did: the run's own data, by the same code.

The evaluator says what it read and ran (`evaluation/loaded.py`). A module that one of two evaluations needed
and the other did not is no difference.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ValidationError

from mlipilot.audit.files import read_regular
from mlipilot.audit.manifest import read_manifest
from mlipilot.controller.state import State
from mlipilot.paths import LOADED, JobKey, LineagePaths, RunPaths
from mlipilot.untrusted import one_line

_LONGEST = 2**24
_MEASURED = ("evaluate", "sealed")


class _Loaded(BaseModel, extra="forbid", strict=True):
    data: dict[str, str]
    modules: dict[str, str]


def first_measured(lineage: LineagePaths, state: State) -> Path | None:
    """The attempt of the lineage's first evaluation that ended well, with which the others are compared."""
    ended = ((key, a) for key, attempts in state.jobs.items() if key.kind == "evaluate" for a in attempts)
    return next((lineage.attempt(key, a.number) for key, a in ended if a.outcome == "ok"), None)


def not_comparable(run: RunPaths, key: JobKey, attempt: Path, first: Path | None) -> list[str]:
    """What of an evaluation's data or code is not as of the run and of the `first` evaluation, in words.

    Of an attempt that is no evaluation, or of a toolkit whose evaluator did not say so yet, nothing is asked.
    """
    if key.kind not in _MEASURED or not _has(first or attempt):
        return []
    try:
        mine = _read(attempt)
        theirs = mine if first is None else _read(first)
        sealed = read_manifest(run.data)
    except (OSError, ValueError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        return [one_line(f"what it was measured with cannot be told: {why}")]
    found = [
        f"it read another {name} than the run's" for name, d in mine.data.items() if sealed.get(name) != d
    ]
    for name in mine.modules.keys() & theirs.modules.keys():
        if mine.modules[name] != theirs.modules[name]:
            found.append(f"it ran another {name} than the first evaluation of the baseline")
    return sorted(map(one_line, found))


def _has(attempt: Path) -> bool:
    return (attempt / "output" / LOADED).exists()


def _read(attempt: Path) -> _Loaded:
    return _Loaded.model_validate_json(read_regular(attempt / "output" / LOADED, _LONGEST))
