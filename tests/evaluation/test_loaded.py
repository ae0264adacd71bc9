"""The digests of what was read and run, whatever lies at the paths afterwards."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from mlipilot.audit.files import sha256_bytes, sha256_file
from mlipilot.evaluation import loaded as module
from mlipilot.evaluation.frames import read_frames
from mlipilot.evaluation.loaded import begin, loaded, read_noted

FRAME = '1\nProperties=species:S:1:pos:R:3 pbc="F F F"\nCu 0 0 0\n'


def test_what_was_read_counts_not_what_lies_there_later(tmp_path: Path) -> None:
    begin()
    path = tmp_path / "test" / "test.xyz"
    path.parent.mkdir()
    path.write_text(FRAME)
    assert len(read_frames(path)) == 1
    path.write_text("put back")
    (tmp_path.parent / "elsewhere").write_text("x")
    read_noted(tmp_path.parent / "elsewhere")
    assert loaded(tmp_path)["data"] == {"test/test.xyz": sha256_bytes(FRAME.encode())}


def test_a_file_that_was_another_one_the_second_time_has_both_digests(tmp_path: Path) -> None:
    begin()
    path = tmp_path / "test.xyz"
    for text in ("a", "a", "b"):
        path.write_text(text)
        read_noted(path)
    assert loaded(tmp_path)["data"] == {"test.xyz": f"{sha256_bytes(b'a')} {sha256_bytes(b'b')}"}
    begin()
    assert loaded(tmp_path)["data"] == {}


def test_modules_are_those_of_the_packages_that_measure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "planted.py"
    file.write_text("1\n")
    for name, place in {"ase.planted": file, "ase.gone": tmp_path / "gone.py", "other": file}.items():
        fake = ModuleType(name)
        fake.__file__ = str(place)
        monkeypatch.setitem(sys.modules, name, fake)
    monkeypatch.setitem(sys.modules, "ase.of_no_file", ModuleType("ase.of_no_file"))
    found = loaded(tmp_path)["modules"]
    assert found["ase.planted"] == sha256_file(file)
    assert found["mlipilot.evaluation.loaded"] == sha256_file(Path(module.__file__))
    assert not {"ase.gone", "other", "ase.of_no_file", "json"} & found.keys()
