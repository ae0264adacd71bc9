"""The protected files: what a candidate must not change, hashed before and after every job."""

from __future__ import annotations

import json
from pathlib import Path

from mlipilot.audit.files import files_below, sha256_file
from mlipilot.paths import RunPaths

PACKAGE = Path(__file__).resolve().parent.parent


def package_files() -> dict[str, Path]:
    """The toolkit's own source files by a name that does not depend on where it is installed.

    Recipes are left out: a run keeps its own copy of the recipe that it starts from.
    """
    return {
        f"mlipilot/{path.relative_to(PACKAGE).as_posix()}": path
        for path in files_below(PACKAGE)
        if "__pycache__" not in path.parts and "recipes" not in path.relative_to(PACKAGE).parts
    }


def hash_protected(run: Path) -> dict[str, str]:
    """SHA-256 of every protected file by name: the toolkit; the run's spec, scorecard, recipe and data."""
    paths = RunPaths(run)
    named = {
        f"run/{path.relative_to(run).as_posix()}": path
        for part in (paths.spec, paths.scorecard, paths.recipe, paths.modules, paths.data)
        for path in ([part] if part.is_file() else files_below(part))
    }
    return {name: sha256_file(path) for name, path in sorted((package_files() | named).items())}


def differences(recorded: dict[str, str], current: dict[str, str]) -> list[str]:
    """The names that were added, removed or changed."""
    return sorted(
        name for name in recorded.keys() | current.keys() if recorded.get(name) != current.get(name)
    )


def differing_toolkit(recorded: dict[str, str]) -> list[str]:
    """The files of this toolkit that are not as `recorded`, a record of all protected files, has them."""
    toolkit = {name: digest for name, digest in recorded.items() if not name.startswith("run/")}
    return differences(toolkit, {name: sha256_file(path) for name, path in package_files().items()})


def read_protected(path: Path) -> dict[str, str]:
    """The record that a run keeps in `protected.json`. Raises OSError and ValueError."""
    recorded = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(recorded, dict):
        raise ValueError(f"{path}: not a mapping")
    return recorded
