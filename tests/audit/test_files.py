"""Publication: whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest

from mlipilot.audit.files import (
    SECRET,
    append_line,
    beside,
    cut_torn_line,
    publish_new,
    whole_lines,
    write_atomic,
    write_json,
)
from mlipilot.audit.protected import PACKAGE
from mlipilot.datasets.base import appearing


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


class Steps(list[str]):
    """What is made durable and given its name, in order; of a file also what is in it at that moment."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        fsync = os.fsync

        def seen(descriptor: int) -> None:
            path = Path(f"/proc/self/fd/{descriptor}")
            is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
            self.append(f"fsync {path.resolve().name}" if is_folder else f"fsync {path.read_text()!r}")
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", seen)
        for name in ("replace", "link"):
            monkeypatch.setattr(os, name, self._seen(name, getattr(os, name)))

    def _seen(self, name: str, real: Any) -> Any:
        def call(source: Path, target: Path) -> None:
            self.append(f"{name} {Path(target).name}")
            assert re.fullmatch(rf"\.{Path(target).name}\.[0-9a-f]{{8}}", Path(source).name)
            real(source, target)

        return call


def test_what_is_published_is_durable_before_it_has_its_name_and_so_is_the_name_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, other = tmp_path / "folder", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    opened = _open_files()
    steps = Steps(monkeypatch)
    write_atomic(folder / "a", "Å", staged_in=other)
    write_atomic(folder / "a", b"bytes")
    assert publish_new(folder / "b", "B") is True
    append_line(folder / "c", "C")
    assert steps == [
        *("fsync 'Å'", "replace a", "fsync folder"),
        *("fsync 'bytes'", "replace a", "fsync folder"),
        *("fsync 'B'", "link b", "fsync folder"),
        "fsync 'C\\n'",
    ]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "a": b"bytes",
        "b": b"B",
        "c": b"C\n",
    }
    assert list(other.iterdir()) == []
    assert _open_files() == opened


def test_what_is_staged_elsewhere_is_never_seen_beside_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    seen = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.append(([*folder.iterdir()], len([*tmp_path.iterdir()]))))
    write_atomic(folder / "a", "x", staged_in=tmp_path)
    assert seen[0] == ([], 2)


def test_no_two_staged_files_have_a_name_in_common(tmp_path: Path) -> None:
    names = {beside(tmp_path / "file") for _ in range(20)}
    assert len(names) == 20
    assert all(re.fullmatch(r"\.file\.[0-9a-f]{8}", path.name) for path in names)
    assert {path.parent for path in names} == {tmp_path}


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


def test_who_finds_the_name_taken_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish_new(tmp_path / "file", "first")
    steps = Steps(monkeypatch)
    assert publish_new(tmp_path / "file", "second") is False
    assert steps == []


@pytest.mark.parametrize(
    ("number", "is_staged_elsewhere"), [(errno.ENOSPC, True), (errno.EPERM, False), (errno.EXDEV, False)]
)
def test_a_link_that_fails_is_an_error_where_no_other_place_would_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, is_staged_elsewhere: bool
) -> None:
    tried = []

    def refused(source: Path, target: Path) -> None:
        tried.append(source)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refused)
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError) as failed:
        publish_new(tmp_path / "folder" / "x", "x", tmp_path if is_staged_elsewhere else None)
    assert (failed.value.errno, len(tried)) == (number, 1)
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]
    assert list((tmp_path / "folder").iterdir()) == []


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


def test_json_is_readable_with_sorted_keys(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"b": [1, "Å"], "a": {"d": None, "c": True}})
    assert (tmp_path / "x.json").read_bytes().decode() == (
        '{\n  "a": {\n    "c": true,\n    "d": null\n  },\n  "b": [\n    1,\n    "Å"\n  ]\n}\n'
    )


@pytest.mark.parametrize("fault", ["a full disk", "a disk that fails"])
def test_a_line_that_could_not_be_written_is_taken_off_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    path = tmp_path / "log"
    append_line(path, "one")
    opened = _open_files()
    write = os.write

    def broken(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    if fault == "a full disk":
        monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:2]))
    else:
        monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError) as failed:
        append_line(path, "two")
    said = (failed.value.errno, failed.value.strerror, failed.value.filename)
    full = (errno.ENOSPC, "No space left on device", str(path))
    assert said == (full if fault == "a full disk" else (errno.EIO, "Input/output error", None))
    assert path.read_text() == "one\n"
    assert _open_files() == opened


def test_append_line_appends(tmp_path: Path) -> None:
    append_line(tmp_path / "log", "one")
    append_line(tmp_path / "log", "two")
    assert (tmp_path / "log").read_text() == "one\ntwo\n"


def test_lines_are_whole_that_end_in_a_break_and_a_torn_one_is_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert whole_lines(path) == whole_lines(tmp_path) == ([], b"")
    for data, lines, torn in (
        (b"", [], b""),
        (b"one\n\ntwo\n", [b"one", b"", b"two"], b""),
        (b"one\n\xc3", [b"one"], b"\xc3"),
        (b"one", [], b"one"),
    ):
        path.write_bytes(data)
        assert whole_lines(path) == (lines, torn)


@pytest.mark.parametrize("torn", ["", "tw", "one"])
def test_of_a_torn_line_nothing_stays_and_of_whole_ones_everything(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "log"
    cut_torn_line(path)
    assert not path.exists()
    path.write_text(torn)
    cut_torn_line(path)
    assert path.read_text() == ""
    path.write_text("one\ntwo\n" + torn)
    cut_torn_line(path)
    assert path.read_text() == "one\ntwo\n"


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
