"""What is read and hashed of files and folders that others left."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path

import pytest

from mlipilot.audit.files import (
    allow_owner,
    files_below,
    read_regular,
    sha256_bytes,
    sha256_file,
    tree_digest,
)


def test_tree_digest_sees_content_and_names(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    first = tree_digest(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    second = tree_digest(tmp_path)
    (tmp_path / "b").write_text("y")
    assert len({first, second, tree_digest(tmp_path)}) == 3


def test_a_digest_is_the_one_that_coreutils_print(tmp_path: Path) -> None:
    """FIPS 180-2 gives that of "abc"; a tree's is of the lines of `sha256sum`, sorted by name."""
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_bytes(b"abc") == abc
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "x").write_text("abc")
    (tmp_path / "sub-b").write_text("abc")
    assert sha256_file(tmp_path / "sub-b") == abc
    lines = f"{abc}  sub-b\n{abc}  sub/x\n"
    assert tree_digest(tmp_path) == hashlib.sha256(lines.encode()).hexdigest()


def test_files_are_sorted_by_their_whole_path(tmp_path: Path) -> None:
    names = ["a-b", "a.c", "a/c", "a/d/e", "a0"]
    for name in reversed(names):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert files_below(tmp_path) == [tmp_path / name for name in names]


def test_a_folder_that_may_not_be_read_is_not_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: str) -> None:
        raise error(13, "no", path)

    monkeypatch.setattr(os, "scandir", refused)
    error: type[OSError] = PermissionError
    with pytest.raises(PermissionError):
        files_below(tmp_path)
    error = FileNotFoundError
    assert files_below(tmp_path) == [], "what went meanwhile is nothing"


def test_what_anybody_may_have_left_is_read_only_if_it_is_a_file_of_that_size(tmp_path: Path) -> None:
    most = 2**20
    (tmp_path / "full").write_bytes(b"x" * most)
    (tmp_path / "more").write_bytes(b"x" * (most + 1))
    (tmp_path / "link").symlink_to("full")
    os.mkfifo(tmp_path / "pipe")
    assert read_regular(tmp_path / "full", most) == b"x" * most
    for name, number, said in (
        ("more", errno.EFBIG, "larger than 1 MiB"),
        ("link", errno.ELOOP, os.strerror(errno.ELOOP)),
        ("pipe", errno.EINVAL, "not a regular file"),
        ("none", errno.ENOENT, os.strerror(errno.ENOENT)),
    ):
        with pytest.raises(OSError) as refused:
            read_regular(tmp_path / name, most)
        found = (refused.value.errno, refused.value.strerror, str(refused.value.filename))
        assert found == (number, said, str(tmp_path / name))


def test_its_owner_is_given_rights_and_nothing_else_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    handle = os.open(path, os.O_PATH | os.O_DIRECTORY)
    for before, rights, after in ((0, 0o700, 0o700), (0o455, 0o300, 0o755), (0o255, 0o200, 0o255)):
        path.chmod(before)
        allow_owner(handle, rights)
        assert stat.S_IMODE(path.stat().st_mode) == after

    asked = []

    def refused(_path: Path, mode: int) -> None:
        asked.append(mode)
        raise PermissionError

    monkeypatch.setattr(Path, "chmod", refused)
    allow_owner(handle, 0o200)  # which it has: a change of the mode would be one of the inode's times
    allow_owner(handle, 0o700)
    os.close(handle)
    assert asked == [0o755]
    assert stat.S_IMODE(path.stat().st_mode) == 0o255


def test_links_to_folders_are_listed_not_followed(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path)
    assert files_below(tmp_path) == [tmp_path / "loop"]
