"""What is published: a patch that `patch` applies, a draft that its manifest vouches for."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from mlipilot.audit.files import sha256_file, tree_digest
from mlipilot.audit.manifest import MANIFEST, check_manifest, write_manifest
from mlipilot.controller.candidates import (
    publish_baseline,
    publish_candidate,
    publish_draft,
    recipe_diff,
)
from mlipilot.errors import PausedError


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"a.yaml": "x: 1\ny: 2\n"}, {"a.yaml": "x: 1\ny: 3\n"}),
        ({"a.yaml": "x: 1"}, {"a.yaml": "x: 2"}),
        ({"a.yaml": "x: 1\n"}, {"a.yaml": "x: 1\n", "new.py": "pass\n"}),
        ({"a.yaml": "x\n", "old.py": "pass\n"}, {"a.yaml": "x\n"}),
        ({"a.yaml": "x: é\n"}, {"a.yaml": "x: Å"}),
    ],
)
def test_the_diff_is_a_patch(tmp_path: Path, before: dict[str, str], after: dict[str, str]) -> None:
    patch = shutil.which("patch")
    if patch is None:
        pytest.skip("patch is not installed")
    for name, files in (("before", before), ("after", after)):
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(text)
    diff = recipe_diff(tmp_path / "before", tmp_path / "after")
    subprocess.run([patch, "-p1", "--quiet"], input=diff.encode(), cwd=tmp_path / "before", check=True)
    assert tree_digest(tmp_path / "before") == tree_digest(tmp_path / "after")


def _recipe(directory: Path, text: str) -> Path:
    directory.mkdir()
    (directory / "recipe.yaml").write_text(text)
    return directory


def test_a_draft_is_sealed_and_a_leftover_of_a_kill_gives_way(tmp_path: Path) -> None:
    before, after = _recipe(tmp_path / "a", "x: 1\n"), _recipe(tmp_path / "b", "x: 2\n")
    final = tmp_path / "drafts" / "0001-1"
    first = publish_draft(final, before, before, {"title": "killed before its record"})
    body = publish_draft(final, after, before, {"title": "again"})
    assert first["manifest_sha256"] != body["manifest_sha256"] == sha256_file(final / MANIFEST)
    assert check_manifest(final) == [] and [path.name for path in final.parent.iterdir()] == ["0001-1"]
    assert body["recipe_digest"] == tree_digest(after) and "+x: 2" in (final / "patch.diff").read_text()


def test_the_baseline_is_left_open_for_its_jobs_and_its_verdict(tmp_path: Path) -> None:
    recipe = _recipe(tmp_path / "a", "x: 1\n")
    final = tmp_path / "iterations" / "0000"
    body = publish_baseline(final, recipe)
    assert body["title"] == "baseline" and body["hypothesis"] is None and "manifest_sha256" not in body
    assert not (final / MANIFEST).exists() and (final / "patch.diff").read_bytes() == b""


def test_a_candidate_is_its_draft_byte_for_byte(tmp_path: Path) -> None:
    before, after = _recipe(tmp_path / "a", "x: 1\n"), _recipe(tmp_path / "b", "x: 2\n")
    draft, final = tmp_path / "drafts" / "0001-1", tmp_path / "iterations" / "0001"
    drafted = publish_draft(draft, after, before, {"title": "mine", "mechanism": "é"})
    (draft / "smoke").mkdir()
    final.mkdir(parents=True)
    (final / "half.txt").write_text("of a kill before the record")
    body = publish_candidate(final, draft, drafted)
    names = {path.relative_to(final).as_posix() for path in final.rglob("*") if path.is_file()}
    assert names == {"recipe/recipe.yaml", "patch.diff", "hypothesis.yaml"}
    assert all((final / name).read_bytes() == (draft / name).read_bytes() for name in names)
    assert body == {key: drafted[key] for key in drafted if key != "manifest_sha256"}


@pytest.mark.parametrize("name", ["recipe/recipe.yaml", "patch.diff", "hypothesis.yaml"])
@pytest.mark.parametrize("change", ["changed", "missing"])
def test_a_draft_that_is_not_as_recorded_becomes_no_candidate(tmp_path: Path, name: str, change: str) -> None:
    before, after = _recipe(tmp_path / "a", "x: 1\n"), _recipe(tmp_path / "b", "x: 2\n")
    draft, final = tmp_path / "drafts" / "0001-1", tmp_path / "iterations" / "0001"
    drafted = publish_draft(draft, after, before, {"title": "mine"})
    (draft / name).unlink()
    if change == "changed":
        (draft / name).write_text("x: 3\n")
    write_manifest(draft)  # a forger seals it anew; the ledger is what counts
    with pytest.raises(PausedError, match=rf"0001-1/{name.split('/')[0]} is not as it was recorded"):
        publish_candidate(final, draft, drafted)
    assert not final.exists()
