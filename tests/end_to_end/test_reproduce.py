"""A run reproduced from a copy of it on the host; image/test_reproduce.py has it in an image."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mlipilot.paths import RunPaths
from tests.end_to_end.conftest import mlipilot
from tests.end_to_end.reproductions import check_outcome, digests

# One worker makes the undisturbed run, and all that look at it share it.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("undisturbed")]


@pytest.mark.sweep
def test_a_copy_in_a_fresh_directory_gives_the_same_weights(undisturbed: RunPaths, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(undisturbed.root, tmp_path / "copy", symlinks=True))
    before = digests(copy)
    done = mlipilot("reproduce", copy, "--iteration", "0", "--seed", "1", "--json", cwd=tmp_path)
    outcome = json.loads(done.stdout)
    check_outcome(outcome)
    assert [weights["seed"] for weights in outcome["weights"]] == [1]
    written = tmp_path / "reproduction-tiny-0000" / "reproduction.json"
    assert json.loads(written.read_text()) == outcome
    assert digests(copy) == before
    again = mlipilot("reproduce", copy, "--iteration", "0", "--json", cwd=tmp_path, check=2)
    assert "not an empty directory" in again.stderr


def test_one_byte_of_the_recipe_is_refused(undisturbed: RunPaths, tmp_path: Path) -> None:
    copy = RunPaths(Path(shutil.copytree(undisturbed.root, tmp_path / "copy", symlinks=True)))
    recipe = copy.lineage(0).recipe(0) / "recipe.yaml"
    recipe.write_bytes(recipe.read_bytes()[:-1] + b" ")
    done = mlipilot("reproduce", copy.root, "--iteration", "0", cwd=tmp_path, check=1)
    assert str(recipe) in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]
