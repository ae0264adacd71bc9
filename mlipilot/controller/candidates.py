"""Publishing what a pilot submitted: recipe, patch and hypothesis in one rename."""

from __future__ import annotations

import difflib
import shutil
from pathlib import Path
from typing import Any

from mlipilot.audit.files import (
    files_below,
    fsync_directory,
    sha256_file,
    tree_digest,
    write_atomic,
)
from mlipilot.audit.manifest import write_manifest
from mlipilot.campaign.spec import dump_yaml
from mlipilot.controller.prepare import copy_recipe


def publish_draft(final: Path, recipe: Path, before: Path, hypothesis: dict[str, Any]) -> dict[str, Any]:
    """Publish one revision for good; returns what its ledger record says of the files."""
    return _publish(final, recipe, before, hypothesis, sealed=True)


def publish_candidate(
    final: Path, recipe: Path, before: Path, hypothesis: dict[str, Any] | None
) -> dict[str, Any]:
    """Publish an iteration's directory, which its verdict will seal; None is the baseline's hypothesis."""
    return _publish(final, recipe, before, hypothesis, sealed=False)


def _publish(
    final: Path, recipe: Path, before: Path, hypothesis: dict[str, Any] | None, *, sealed: bool
) -> dict[str, Any]:
    drop_leftovers(final)
    staging = _staging(final)
    staging.mkdir(parents=True)
    copy_recipe(recipe, staging / "recipe")
    write_atomic(staging / "patch.diff", recipe_diff(before, recipe))
    write_atomic(staging / "hypothesis.yaml", dump_yaml(hypothesis or {"title": "baseline"}))
    body: dict[str, Any] = {
        "title": "baseline" if hypothesis is None else hypothesis["title"],
        "hypothesis": hypothesis,
        "recipe_digest": tree_digest(staging / "recipe"),
        "patch_sha256": sha256_file(staging / "patch.diff"),
        "hypothesis_sha256": sha256_file(staging / "hypothesis.yaml"),
    }
    if sealed:
        body["manifest_sha256"] = write_manifest(staging)
    staging.rename(final)
    fsync_directory(final.parent)
    return body


def drop_leftovers(final: Path) -> None:
    """Remove what a kill between publishing and recording left: no job has seen it."""
    for leftover in (_staging(final), final):
        if leftover.exists():
            shutil.rmtree(leftover)


def _staging(final: Path) -> Path:
    return final.with_name(f".{final.name}.staging")


def recipe_diff(before: Path, after: Path) -> str:
    """A unified diff of two recipe directories that `patch -p1` applies."""
    names = sorted(
        {path.relative_to(root).as_posix() for root in (before, after) for path in files_below(root)}
    )
    return "".join(_file_diff(before / name, after / name, name) for name in names)


def _file_diff(before: Path, after: Path, name: str) -> str:
    old = before.read_text(encoding="utf-8") if before.exists() else ""
    new = after.read_text(encoding="utf-8") if after.exists() else ""
    lines = difflib.unified_diff(
        old.splitlines(keepends=True),
        new.splitlines(keepends=True),
        f"a/{name}" if before.exists() else "/dev/null",
        f"b/{name}" if after.exists() else "/dev/null",
    )
    # difflib leaves a line without its break as it is; a patch marks it.
    mark = "\n\\ No newline at end of file\n"
    return "".join(line if line.endswith("\n") else line + mark for line in lines)
