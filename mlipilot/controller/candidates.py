"""Publishing what a pilot submitted: recipe, patch and hypothesis in one rename."""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlipilot.audit.files import files_below, sha256_file, tree_digest, write_atomic
from mlipilot.audit.manifest import write_manifest
from mlipilot.campaign.spec import dump_yaml
from mlipilot.controller.publishing import copy_recipe, drop_leftovers, publishing
from mlipilot.controller.state import State
from mlipilot.errors import PausedError
from mlipilot.paths import HYPOTHESIS, PATCH, LineagePaths

_DIGESTS: dict[str, tuple[str, Callable[[Path], str]]] = {
    "recipe": ("recipe_digest", tree_digest),
    PATCH: ("patch_sha256", sha256_file),
    HYPOTHESIS: ("hypothesis_sha256", sha256_file),
}
"""What a candidate consists of, and how a ledger record vouches for it."""


def publish_baseline(final: Path, recipe: Path) -> dict[str, Any]:
    """Publish the directory of iteration 0; returns what its ledger record says of the files."""
    with publishing(final) as staging:
        return _built(staging, recipe, recipe, None)


def publish_draft(final: Path, recipe: Path, before: Path, hypothesis: dict[str, Any]) -> dict[str, Any]:
    """Build and seal one revision of a candidate; returns what its ledger record says of the files."""
    with publishing(final) as staging:
        body = _built(staging, recipe, before, hypothesis)
        return body | {"manifest_sha256": write_manifest(staging)}


def publish_candidate(final: Path, draft: Path, recorded: Mapping[str, Any]) -> dict[str, Any]:
    """Publish the files of a draft as an iteration's, which its verdict will seal; returns as the others do.

    Raises PausedError when a file is not as the draft's ledger record says.
    """
    for name, (key, digest) in _DIGESTS.items():
        if not (draft / name).exists() or digest(draft / name) != recorded[key]:
            raise PausedError(
                f"{draft / name} is not as it was recorded; restore it and resume, or begin a new run"
            )
    with publishing(final) as staging:
        copy_recipe(draft / "recipe", staging / "recipe")
        for name in (PATCH, HYPOTHESIS):
            write_atomic(staging / name, (draft / name).read_bytes())
    return {key: recorded[key] for key in ("title", "hypothesis", *(key for key, _ in _DIGESTS.values()))}


def _built(directory: Path, recipe: Path, before: Path, hypothesis: dict[str, Any] | None) -> dict[str, Any]:
    """Write recipe, patch and hypothesis (None: the baseline's); returns what a record says of them."""
    copy_recipe(recipe, directory / "recipe")
    write_atomic(directory / PATCH, recipe_diff(before, recipe))
    write_atomic(directory / HYPOTHESIS, dump_yaml(hypothesis or {"title": "baseline"}))
    title = "baseline" if hypothesis is None else hypothesis["title"]
    return {"title": title, "hypothesis": hypothesis} | digests_of(directory)


def digests_of(directory: Path) -> dict[str, Any]:
    """How a record vouches for the candidate in a directory."""
    return {key: digest(directory / name) for name, (key, digest) in _DIGESTS.items()}


def drop_unrecorded(lineage: LineagePaths, state: State) -> None:
    """Remove the draft under way and each revision that was published, not recorded: no job has seen it."""
    drop_leftovers(lineage.draft)
    recorded = {lineage.revision(i.number, draft.revision) for i in state.iterations for draft in i.drafts}
    drafts = lineage.revision(0, 0).parent
    for path in set(drafts.iterdir()) - recorded if drafts.is_dir() else ():
        if path.is_dir():
            shutil.rmtree(path)


def recipe_diff(before: Path, after: Path) -> str:
    """A unified diff of two recipe directories that `patch -p1` applies."""
    names = sorted(
        {path.relative_to(root).as_posix() for root in (before, after) for path in files_below(root)}
    )
    return "".join(_file_diff(before / name, after / name, name) for name in names)


def _file_diff(before: Path, after: Path, name: str) -> str:
    # What is no text is no recipe's: whoever has asked for the diff refuses it.
    old = before.read_text(encoding="utf-8", errors="replace") if before.exists() else ""
    new = after.read_text(encoding="utf-8", errors="replace") if after.exists() else ""
    lines = difflib.unified_diff(
        old.splitlines(keepends=True),
        new.splitlines(keepends=True),
        f"a/{name}" if before.exists() else "/dev/null",
        f"b/{name}" if after.exists() else "/dev/null",
    )
    # difflib leaves a line without its break as it is; a patch marks it.
    mark = "\n\\ No newline at end of file\n"
    return "".join(line if line.endswith("\n") else line + mark for line in lines)
