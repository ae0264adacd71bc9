"""When two recipes are the same: by what they say, not by how it is written.

Comments, layout, key order, docstrings, the spelling of numbers and code without an effect (`dead_code`)
do not make a recipe new. What has no such form (a file that is neither YAML nor Python, or cannot be read
as what it is) is compared byte by byte.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from mlipilot.audit.files import sha256_bytes
from mlipilot.audit.ledger import canonical_digest
from mlipilot.pilots.dead_code import folded, names_in
from mlipilot.pilots.draft_files import regular_files
from mlipilot.yaml_text import parse_yaml

_NOT_READ = (SyntaxError, ValueError, TypeError, OverflowError, RecursionError, MemoryError)
_EXACT_INTEGERS = 2**53
"""JSON numbers are doubles: beyond this, integers are told apart by their digits."""


def recipe_identity(recipe: Path) -> str:
    """SHA-256 of what the recipe in a directory says. Raises OSError for a file that cannot be read."""
    files = {name: (recipe / name).read_bytes() for name in regular_files(recipe)}
    code = {name: data for name, data in files.items() if _suffix(name) == ".py"}
    names = {name: _names(data) for name, data in code.items()}
    said = {}
    for name, data in files.items():
        elsewhere = frozenset[str]().union(*(names[other] for other in code if other != name))
        said[name] = _said(_suffix(name), data, elsewhere)
    return canonical_digest(said)


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


@lru_cache(maxsize=64)
def _names(data: bytes) -> frozenset[str]:
    try:
        return frozenset(names_in(data))
    except _NOT_READ:
        return frozenset()


@lru_cache(maxsize=64)  # from one recipe to the next most files stay as they are
def _said(suffix: str, data: bytes, names_elsewhere: frozenset[str]) -> tuple[str, str]:
    """How a file is compared, and what it comes to."""
    try:
        if suffix in (".yaml", ".yml"):
            return "yaml", canonical_digest(_plain(parse_yaml(data.decode("utf-8"))))
        if suffix == ".py":
            return "python", sha256_bytes(folded(data, names_elsewhere).encode())
    except _NOT_READ:
        pass  # not in a form that can be compared: its bytes can
    return "bytes", sha256_bytes(data)


def _plain(value: Any) -> Any:
    """YAML as JSON of one form. Raises ValueError for a type that JSON does not know, such as a date."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        exact = abs(value) < _EXACT_INTEGERS if isinstance(value, int) else math.isfinite(value)
        return value if exact else {"number": repr(value)}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if isinstance(value, dict):
        return {"map": [[_plain(key), _plain(value[key])] for key in sorted(value, key=repr)]}
    raise ValueError(f"{type(value).__name__} has no canonical form")
