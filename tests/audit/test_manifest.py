"""Manifests: what `sha256sum -c` accepts, and what differs after a change."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlipilot.audit import manifest
from mlipilot.audit.discarding import remove
from mlipilot.audit.manifest import (
    MANIFEST,
    check_manifest,
    drop_unsealable,
    is_finished,
    manifest_text,
    read_manifest,
    write_manifest,
)
from tests.hostile import as_a_user, dig


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


def _line(text: str, name: str) -> str:
    return f"{hashlib.sha256(text.encode()).hexdigest()}  {name}\n"


def test_the_seal_is_these_lines_in_the_order_of_the_names(tmp_path: Path) -> None:
    for name in ("b", "a-1", "a"):
        (tmp_path / name).write_text(name)
    expected = _line("a", "a") + _line("a-1", "a-1") + _line("b", "b")
    assert write_manifest(tmp_path) == hashlib.sha256(expected.encode()).hexdigest()
    assert (tmp_path / "manifest-sha256.txt").read_text() == expected == manifest_text(tmp_path)
    some = manifest_text(tmp_path, [tmp_path / "b", tmp_path / MANIFEST, tmp_path / "a"])
    assert some == _line("a", "a") + _line("b", "b")
    assert write_manifest(tmp_path, []) == hashlib.sha256(b"").hexdigest()
    assert manifest_text(tmp_path) == expected, "an old seal is no part of a new one"


def test_a_claim_that_a_worker_stages_meanwhile_is_neither_sealed_nor_missed(tmp_path: Path) -> None:
    (tmp_path / "job" / "attempt-1").mkdir(parents=True)
    (tmp_path / "job" / "attempt-1" / "log").write_text("x")
    staged = tmp_path / "job" / ".worker.json.1a2b3c4d"
    staged.touch()
    write_manifest(tmp_path)
    assert read_manifest(tmp_path).keys() == {"job/attempt-1/log"}
    assert check_manifest(tmp_path) == []


def test_sealed_is_clean(sealed: Path) -> None:
    assert is_finished(sealed)
    assert check_manifest(sealed) == []
    digest = hashlib.sha256(b"a").hexdigest(), hashlib.sha256(b"b").hexdigest()
    assert read_manifest(sealed) == {"a.txt": digest[0], "sub dir/b ü.txt": digest[1]}


def test_each_kind_of_change_is_named(sealed: Path) -> None:
    (sealed / "a.txt").write_text("A")
    (sealed / "sub dir" / "b ü.txt").unlink()
    (sealed / "new").touch()
    (sealed / "sub dir" / "another").touch()
    seal = "manifest-sha256.txt"
    of_what_was_sealed = [
        f"{sealed / 'a.txt'}: changed (SHA-256 differs from {seal})",
        f"{sealed / 'sub dir' / 'b ü.txt'}: missing",
    ]
    more = [f"{sealed / 'new'}: not in {seal}", f"{sealed / 'sub dir' / 'another'}: not in {seal}"]
    assert check_manifest(sealed) == of_what_was_sealed + more
    assert check_manifest(sealed, allow_extra=True) == of_what_was_sealed


def test_what_was_not_sealed_is_named_in_order(sealed: Path) -> None:
    names = [f"new {letter}" for letter in "abcdefgh"]
    for name in names:
        (sealed / name).touch()
    assert check_manifest(sealed) == [f"{sealed / name}: not in manifest-sha256.txt" for name in names]


def test_one_changed_file_among_good_ones_is_the_only_one_named(sealed: Path) -> None:
    (sealed / "sub dir" / "b ü.txt").write_text("B")
    assert [problem.partition(": ")[0] for problem in check_manifest(sealed)] == [
        str(sealed / "sub dir" / "b ü.txt")
    ]


def test_what_was_never_sealed_or_is_not_any_more_is_not_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [f"{tmp_path}: not finished (manifest-sha256.txt is missing)"]
    assert (is_finished(tmp_path), check_manifest(tmp_path)) == (False, said)
    (tmp_path / MANIFEST).mkdir()
    assert (is_finished(tmp_path), check_manifest(tmp_path)) == (False, said)
    (tmp_path / MANIFEST).rmdir()
    monkeypatch.setattr("mlipilot.audit.manifest.is_finished", lambda _: True)  # and is taken away then
    assert check_manifest(tmp_path) == said


def test_a_file_that_goes_while_it_is_read_is_missing(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(path: Path) -> str:
        raise FileNotFoundError(2, "No such file or directory", str(path))

    monkeypatch.setattr("mlipilot.audit.manifest.sha256_file", gone)
    assert check_manifest(sealed) == [
        f"{sealed / 'a.txt'}: missing",
        f"{sealed / 'sub dir' / 'b ü.txt'}: missing",
    ]


def test_a_link_in_place_of_a_file_is_missing(sealed: Path) -> None:
    (sealed / "a.txt").unlink()
    (sealed / "a.txt").symlink_to(sealed / "sub dir" / "b ü.txt")
    assert check_manifest(sealed) == [f"{sealed / 'a.txt'}: missing"]


@pytest.mark.parametrize("path", ["to the same", "a folder"])
def test_a_link_to_the_very_content_is_missing_and_so_is_a_folder(sealed: Path, path: str) -> None:
    (sealed / "a.txt").rename(sealed / "moved")
    if path == "to the same":
        (sealed / "a.txt").symlink_to("moved")
    else:
        (sealed / "a.txt").mkdir()
    assert check_manifest(sealed, allow_extra=True) == [f"{sealed / 'a.txt'}: missing"]


@pytest.mark.parametrize(
    "forged",
    [
        b"nonsense",
        b"\xff\xfe",
        b"",
        b"0" * 64 + b" a.txt",
        b"0" * 64 + b"   a.txt",
        b"0" * 63 + b"  a.txt",
        b"A" * 64 + b"  a.txt",
        b" " + b"0" * 64 + b"  a.txt",
    ],
)
def test_a_damaged_manifest_names_its_line(sealed: Path, forged: bytes) -> None:
    first = (sealed / MANIFEST).read_bytes().splitlines(keepends=True)[0]
    (sealed / MANIFEST).write_bytes(first + forged + b"\n")
    assert check_manifest(sealed) == [f"{sealed / MANIFEST}:2: not a manifest line"]


UNSEALABLE = ["two\nlines", "back\\slash", "a\rb", "a\x0cb", "a\x85b", "a\u2028b", "\udcff", "\x1b[31m", " a"]
"""Names that a line could not hold, or would not give back; lines end in more ways than one."""


@pytest.mark.parametrize("name", ["link", *UNSEALABLE])
def test_a_link_and_a_name_that_breaks_a_line_cannot_be_sealed(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "link":
        path.symlink_to("/etc/passwd")
    else:
        path.touch()
    with pytest.raises(ValueError) as refused:
        write_manifest(tmp_path)
    said = f"cannot seal {str(path)!r}: a link, or a name that no manifest can hold"
    assert str(refused.value) == said
    assert not is_finished(tmp_path)


@pytest.mark.parametrize("name", UNSEALABLE)
def test_a_folder_of_such_a_name_cannot_be_sealed_and_goes_with_all_in_it(tmp_path: Path, name: str) -> None:
    for folder in (tmp_path / name, tmp_path / "deeper" / name / "again"):
        folder.mkdir(parents=True)
        (folder / "x").touch()
    (tmp_path / "keep").touch()
    with pytest.raises(ValueError, match="a name that no manifest can hold"):
        write_manifest(tmp_path)
    drop_unsealable(tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "keep"]
    write_manifest(tmp_path)
    assert check_manifest(tmp_path) == []


def test_a_file_that_is_named_twice_is_no_manifests(sealed: Path) -> None:
    lines = (sealed / MANIFEST).read_text().splitlines(keepends=True)
    forged = "0" * 64 + lines[0][64:]
    (sealed / MANIFEST).write_text(forged + "".join(lines))
    assert check_manifest(sealed) == [f"{sealed / MANIFEST}:2: this file is named twice"]


def test_a_seal_within_is_a_file_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "attempt-1").mkdir()
    write_manifest(tmp_path / "attempt-1")
    assert manifest_text(tmp_path) == _line("", f"attempt-1/{MANIFEST}")


def test_what_cannot_be_sealed_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "keep").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "keep").write_text("y")
    (tmp_path / "empty" / "deeper").mkdir(parents=True)
    (tmp_path / "link").symlink_to("/etc")
    (tmp_path / "link to a file").symlink_to("keep")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "bad\nname").touch()
    (tmp_path / "bad\\name").touch()
    os.mkfifo(tmp_path / "pipe")
    drop_unsealable(tmp_path)
    kept = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")}
    assert kept == {"keep", "full", "full/keep"}
    write_manifest(tmp_path)
    assert check_manifest(tmp_path) == []


@pytest.fixture
def bottomless(tmp_path: Path) -> Iterator[Path]:
    """A folder with others in it that no path names; pytest could not remove what a test leaves of them."""
    for name, depth in (("d" * 9, 600), ("d", 1500)):
        (tmp_path / name).mkdir()
        dig(tmp_path / name, depth, name)
    yield tmp_path
    remove(tmp_path)


def test_folders_that_no_path_names_are_dropped_from_where_they_are_too_deep(bottomless: Path) -> None:
    deep = bottomless.joinpath(*["e" * 99] * 10)  # whose path is of 1000 bytes
    too_deep = deep.with_name("e" * 100)
    for folder in (deep, too_deep, deep / "further"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "x").touch()
    drop_unsealable(bottomless)
    assert [path for path in bottomless.rglob("*") if path.is_file()] == [deep / "x"]
    write_manifest(bottomless)
    assert check_manifest(bottomless) == []


def test_what_is_shut_is_opened_to_be_sealed(tmp_path: Path) -> None:
    code = """
import os
from pathlib import Path
from mlipilot.audit.manifest import check_manifest, drop_unsealable, write_manifest
shut = Path("top/shut").absolute()
shut.mkdir(parents=True)
(shut / "x").touch()
os.mkfifo(shut / "pipe")
shut.chmod(0)
drop_unsealable(shut.parent)
write_manifest(shut.parent)
print(os.listdir(shut), check_manifest(shut.parent))
"""
    assert as_a_user(code, tmp_path) == "['x'] []\n"


def test_what_goes_by_itself_needs_no_dropping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone_meanwhile(_name: str) -> bool:
        shutil.rmtree(tmp_path / "a")
        return False

    (tmp_path / "a" / "b").mkdir(parents=True)
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "_is_sealable", gone_meanwhile)
        drop_unsealable(tmp_path)
    drop_unsealable(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []
