"""Folders that appear whole: each is built beside its place and renamed, and what a kill left goes first."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlipilot.audit.discarding import remove
from mlipilot.audit.files import files_below, fsync_directory
from mlipilot.errors import InputError


@contextmanager
def publishing(final: Path) -> Iterator[Path]:
    """A directory that becomes `final`, whole, when the block has ended well."""
    drop_leftovers(final)
    staging = _staging(final)
    staging.mkdir(parents=True)
    yield staging
    staging.rename(final)
    fsync_directory(final.parent)


def drop_leftovers(final: Path) -> None:
    """Remove what a kill between publishing and recording left: no job has seen it."""
    for leftover in (_staging(final), final):
        if os.path.lexists(leftover):
            remove(leftover)


def _staging(final: Path) -> Path:
    return final.with_name(f".{final.name}.staging")


def copy_recipe(source: Path, target: Path) -> None:
    """Put a recipe's files in `target`'s place; raises InputError for a link among them."""
    with publishing(target) as staging:
        for path in files_below(source):
            if "__pycache__" in path.parts:
                continue
            if path.is_symlink():
                raise InputError("a recipe holds regular files only", file=path, mend="copy what it links to")
            copy = staging / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
