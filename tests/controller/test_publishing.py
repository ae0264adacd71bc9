"""A folder is there whole or not at all, and what a kill left of it is no part of the next one."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlipilot.controller.publishing import copy_recipe, drop_leftovers, publishing
from mlipilot.errors import InputError


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_appears_when_all_is_in_it_and_replaces_what_was_left(tmp_path: Path) -> None:
    final = tmp_path / "drafts" / "0001-1"
    for _ in range(2):
        with publishing(final) as staging:
            assert not final.exists() and list(staging.iterdir()) == []
            (staging / "file").touch()
        assert _names(final.parent) == ["0001-1"] and _names(final) == ["file"]


def test_who_fails_publishes_nothing_and_leaves_only_what_is_dropped(tmp_path: Path) -> None:
    final = tmp_path / "recipe"
    with pytest.raises(RuntimeError), publishing(final) as staging:
        (staging / "half").touch()
        raise RuntimeError
    assert _names(tmp_path) == [".recipe.staging"]
    drop_leftovers(final)
    assert _names(tmp_path) == []


def test_a_recipe_is_copied_without_bytecode_and_not_at_all_with_a_link(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "__pycache__").mkdir(parents=True)
    (source / "__pycache__" / "train.pyc").touch()
    (source / "parts").mkdir()
    (source / "parts" / "train.py").write_text("pass\n")
    copy_recipe(source, target)
    assert [path.relative_to(target).as_posix() for path in target.rglob("*.*")] == ["parts/train.py"]
    (source / "data").symlink_to("/etc")
    with pytest.raises(InputError, match="regular files only"):
        copy_recipe(source, tmp_path / "other")
    assert not (tmp_path / "other").exists()
