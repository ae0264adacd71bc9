"""What is published: a patch that `patch` applies, a draft that its manifest vouches for."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from mlipilot.audit.files import sha256_file, tree_digest
from mlipilot.audit.manifest import MANIFEST, check_manifest
from mlipilot.controller.candidates import publish_candidate, publish_draft, recipe_diff


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


def test_a_candidate_is_left_open_for_its_jobs_and_its_verdict(tmp_path: Path) -> None:
    recipe = _recipe(tmp_path / "a", "x: 1\n")
    body = publish_candidate(tmp_path / "iterations" / "0000", recipe, recipe, None)
    assert body["title"] == "baseline" and body["hypothesis"] is None and "manifest_sha256" not in body
    assert not (tmp_path / "iterations" / "0000" / MANIFEST).exists()
