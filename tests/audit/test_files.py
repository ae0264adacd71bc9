"""Publication: whole or not at all."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from mlipilot.audit.files import (
    SECRET,
    append_line,
    files_below,
    publish_new,
    tree_digest,
    write_atomic,
    write_json,
)
from mlipilot.audit.protected import PACKAGE
from mlipilot.datasets.base import appearing


def test_a_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomic(path, "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_is_published_once(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert publish_new(path, "first")
    assert not publish_new(path, "second")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_whose_answer_was_lost_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def asked_twice(source: Path, target: Path) -> None:
        link(source, target)
        link(source, target)

    monkeypatch.setattr(os, "link", asked_twice)
    assert publish_new(tmp_path / "file", "mine")


def test_who_comes_second_leaves_no_trace_where_the_first_may_be_sealing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "attempt"
    folder.mkdir()
    seen = []

    def taken_meanwhile(source: Path, target: Path) -> None:
        seen.append(list(folder.iterdir()))
        raise FileExistsError(17, "File exists", str(source), None, str(target))

    monkeypatch.setattr(os, "link", taken_meanwhile)
    assert not publish_new(folder / "claim", "mine", staged_in=tmp_path)
    assert seen == [[]] and list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("number", [1, 18])
def test_where_folders_cannot_share_a_file_it_is_staged_beside_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    folder, link = tmp_path / "attempt", os.link
    folder.mkdir()

    def within_a_folder(source: Path, target: Path) -> None:
        if Path(source).parent != Path(target).parent:
            raise OSError(number, "no")
        link(source, target)

    monkeypatch.setattr(os, "link", within_a_folder)
    assert publish_new(folder / "claim", "mine", staged_in=tmp_path)
    assert not publish_new(folder / "claim", "another's", staged_in=tmp_path)
    assert (folder / "claim").read_text() == "mine" and list(tmp_path.iterdir()) == [folder]


def test_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "x.json", {"x": float("inf")})
    assert not (tmp_path / "x.json").exists()


def test_append_line_appends(tmp_path: Path) -> None:
    append_line(tmp_path / "log", "one")
    append_line(tmp_path / "log", "two")
    assert (tmp_path / "log").read_text() == "one\ntwo\n"


def test_tree_digest_sees_content_and_names(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    first = tree_digest(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    second = tree_digest(tmp_path)
    (tmp_path / "b").write_text("y")
    assert len({first, second, tree_digest(tmp_path)}) == 3


def test_links_to_folders_are_listed_not_followed(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path)
    assert files_below(tmp_path) == [tmp_path / "loop"]


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_files_and_folders_get_the_rights_that_any_new_one_gets(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        (tmp_path / "plain").touch()
        (tmp_path / "folder").mkdir()
        write_atomic(tmp_path / "atomic", "x")
        write_json(tmp_path / "json", {})
        publish_new(tmp_path / "new", "x", staged_in=tmp_path / "folder")
        append_line(tmp_path / "appended", "x")
        with appearing(tmp_path / "data"):
            pass
        write_json(tmp_path / "secret", {}, mode=SECRET)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes.pop("secret") == 0o600
    assert {modes[name] for name in ("atomic", "json", "new", "appended")} == {modes["plain"]}
    assert modes["data"] == modes["folder"] == 0o777 & ~umask


def test_nobody_else_chooses_rights() -> None:
    """Whoever gives a mode, or has one given, keeps a group's other users out; `audit/files.py` alone may."""
    found = [
        f"{path.relative_to(PACKAGE)}: {word}"
        for path in PACKAGE.rglob("*.py")
        if "doctor" not in path.parts and path.name != "files.py"  # what probes leave nothing
        for word in re.findall(r"mkstemp|mkdtemp|NamedTemporaryFile|chmod\(|\b0o[0-7]{3}\b", path.read_text())
    ]
    assert found == []
