"""Removing trees that `shutil.rmtree` cannot, and what is counted of them."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from mlipilot.audit import discarding
from mlipilot.audit.discarding import Bin, open_regular, opened_folder, remove
from tests.hostile import as_a_user, dig


def test_a_tree_deeper_than_any_path_goes(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    dig(top, 1500, "d" * 20)
    remove(top)
    assert list(tmp_path.iterdir()) == []


def test_every_kind_of_entry_goes_and_what_links_point_to_stays(tmp_path: Path) -> None:
    precious, top = tmp_path / "precious", tmp_path / "top"
    precious.mkdir()
    (precious / "x").write_text("x")
    (top / "folder").mkdir(parents=True)
    (top / "link").symlink_to(precious)
    (top / "folder" / "link").symlink_to(precious / "x")
    os.link(precious / "x", top / "folder" / "hard")
    os.mkfifo(top / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(top / "socket"))
    Path(os.fsdecode(os.fsencode(top) + b"/\xff\n")).touch()
    with opened_folder(tmp_path) as folder:
        bin_ = Bin(folder)
        bin_.drop_but(folder, lambda name: name == "precious", "in/")
        bin_.empty()
    assert bin_.dropped.model_dump() == {"entries": 8, "bytes": 1, "names": ["in/top"], "left": False}
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
    assert (precious / "x").read_text() == "x"


def test_a_link_is_removed_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    remove(tmp_path / "link", tmp_path / "nowhere", tmp_path / "no folder" / "x")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_names_on_record_are_few_short_and_printable(tmp_path: Path) -> None:
    names = [b"\xff\x1b[31m\n", "a\u2028\x85b".encode(), b"l" * 200, b"1", b"2", b"3", b"4"]
    for name in names:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).touch()
    with opened_folder(tmp_path) as folder:
        bin_ = Bin(folder)
        for name in names:
            assert bin_.drop(folder, os.fsdecode(name), os.fsdecode(name))
    found = bin_.dropped
    assert found.names[:2] == [r"\udcff\x1b[31m\n", r"a\u2028\x85b"] and found.names[2].endswith("l …")
    assert len(found.names) == 5 and max(map(len, found.names)) == 80
    assert found.words.startswith("7 entries of 0 bytes were dropped: ") and found.words.endswith(", …")


def test_what_is_one_batch_and_more_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discarding, "_BATCH", 3)
    (tmp_path / "top").mkdir()
    for number in range(10):
        (tmp_path / "top" / str(number)).touch()
    remove(tmp_path / "top")
    assert list(tmp_path.iterdir()) == []


def test_there_is_an_end_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discarding, "MOST_ENTRIES", 4)
    for number in range(10):
        (tmp_path / str(number)).touch()
    with opened_folder(tmp_path) as folder:
        bin_ = Bin(folder)
        bin_.drop_but(folder, lambda _: False)
    assert bin_.dropped.left and bin_.dropped.entries == 4 and len(list(tmp_path.iterdir())) == 6


def test_only_a_regular_file_is_opened(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with opened_folder(tmp_path) as folder:
        with os.fdopen(open_regular("file", folder)) as stream:
            assert stream.read() == "x"
        for name in ("link", "folder", "pipe"):
            with pytest.raises(ValueError):
                open_regular(name, folder)
        for name in ("link", "file"):
            with pytest.raises(NotADirectoryError), opened_folder(name, folder):
                pass


def test_modes_do_not_keep_their_owner_from_it(tmp_path: Path) -> None:
    code = """
import os
from mlipilot.audit.discarding import open_regular, opened_folder, remove
for name in ("top/a/b", "top/c"):
    os.makedirs(name)
    open(name + "/x", "w").close()
    os.chmod(name, 0)
os.chmod("top/a", 0)
os.chmod("top", 0)
with open("shut", "w") as stream:
    stream.write("x")
os.chmod("shut", 0)
with opened_folder(".") as folder:
    print(os.read(open_regular("shut", folder), 9))
from pathlib import Path
remove(Path("top").absolute())
print(os.listdir())
"""
    assert as_a_user(code, tmp_path) == "b'x'\n['shut']\n"
