"""Manifests: what `sha256sum -c` accepts, and what differs after a change."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from mlipilot.audit.manifest import (
    MANIFEST,
    check_manifest,
    drop_unsealable,
    is_finished,
    read_manifest,
    write_manifest,
)


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    (tmp_path / "sub dir").mkdir()
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "sub dir" / "b ü.txt").write_text("b")
    write_manifest(tmp_path)
    return tmp_path


def test_a_stranger_verifies_with_coreutils(sealed: Path) -> None:
    sha256sum = shutil.which("sha256sum")
    assert sha256sum
    done = subprocess.run(
        [sha256sum, "--strict", "-c", MANIFEST], cwd=sealed, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_sealed_is_clean(sealed: Path) -> None:
    assert is_finished(sealed)
    assert check_manifest(sealed) == []
    assert set(read_manifest(sealed)) == {"a.txt", "sub dir/b ü.txt"}


def test_each_kind_of_change_is_named(sealed: Path) -> None:
    (sealed / "a.txt").write_text("A")
    (sealed / "sub dir" / "b ü.txt").unlink()
    (sealed / "new").touch()
    problems = check_manifest(sealed)
    assert len(problems) == 3
    for problem, (name, word) in zip(
        problems, [("a.txt", "changed"), ("b ü.txt", "missing"), ("new", "not in")], strict=True
    ):
        assert name in problem and word in problem


def test_a_link_in_place_of_a_file_is_missing(sealed: Path) -> None:
    (sealed / "a.txt").unlink()
    (sealed / "a.txt").symlink_to(sealed / "sub dir" / "b ü.txt")
    assert "a.txt: missing" in check_manifest(sealed)[0]


def test_a_damaged_manifest_names_its_line(sealed: Path) -> None:
    (sealed / MANIFEST).write_text("nonsense\n")
    assert check_manifest(sealed) == [f"{sealed / MANIFEST}:1: not a manifest line"]


def test_a_link_cannot_be_sealed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(ValueError, match="link"):
        write_manifest(tmp_path)
    assert not is_finished(tmp_path)


def test_what_cannot_be_sealed_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "keep").write_text("x")
    (tmp_path / "empty" / "deeper").mkdir(parents=True)
    (tmp_path / "link").symlink_to("/etc")
    (tmp_path / "bad\nname").touch()
    os.mkfifo(tmp_path / "pipe")
    drop_unsealable(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["keep"]
