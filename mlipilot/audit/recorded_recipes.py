"""Recipes of a run against what the ledger says of them."""

from __future__ import annotations

from pathlib import Path

from mlipilot.audit.files import files_below, tree_digest
from mlipilot.audit.verification_result import Verification


def verify_recipe(recipe: Path, digest: str | None, which: str, found: Verification) -> None:
    """Hold the files of a recipe to the digest that `which` has; a link or a pipe is none of them."""
    files = files_below(recipe)
    found.accounted |= set(files)
    odd = [path for path in files if path.is_symlink() or not path.is_file()]  # no link, no pipe to wait for
    try:
        is_same = not odd and tree_digest(recipe) == digest
    except (OSError, ValueError):  # gone meanwhile, or a name that is no text
        is_same = False
    if not is_same:
        found.problems.append(f"{recipe}: is not the recipe {which}")
