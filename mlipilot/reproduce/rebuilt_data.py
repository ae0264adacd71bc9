"""The rebuilt data set beside the digests of the run's own."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from mlipilot.audit.files import files_below, sha256_file
from mlipilot.audit.manifest import MANIFEST

Sameness = Literal["same bytes", "same values", "differs", "missing", "added"]
RELATIVE_TOLERANCE = 1e-6
"""Up to here two numbers in a JSON file are the same value: another processor rounds its last digits."""


def compare_data(protected: Mapping[str, str], recorded: Path, rebuilt: Path) -> dict[str, Sameness]:
    """Each file of the data set by name: whether it was rebuilt as it was.

    `protected` are the run's recorded digests; `recorded` is its data directory, for values of JSON files.
    The manifest is left out, since it differs whenever another file does.
    """
    prefix = "run/data/"
    wanted = {n.removeprefix(prefix): digest for n, digest in protected.items() if n.startswith(prefix)}
    present = {path.relative_to(rebuilt).as_posix() for path in files_below(rebuilt)}
    return {
        name: _sameness(wanted.get(name), recorded / name, rebuilt / name)
        for name in sorted((wanted.keys() | present) - {MANIFEST})
    }


def _sameness(digest: str | None, recorded: Path, rebuilt: Path) -> Sameness:
    if digest is None:
        return "added"
    if not rebuilt.is_file():
        return "missing"
    if sha256_file(rebuilt) == digest:
        return "same bytes"
    if rebuilt.suffix == ".json" and _close(*(json.loads(path.read_text()) for path in (recorded, rebuilt))):
        return "same values"
    return "differs"


def _close(old: Any, new: Any) -> bool:
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() == new.keys() and all(_close(old[key], new[key]) for key in old)
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(_close, old, new))
    if isinstance(old, float) and isinstance(new, float):
        return math.isclose(old, new, rel_tol=RELATIVE_TOLERANCE, abs_tol=RELATIVE_TOLERANCE)
    return bool(old == new)
