"""Rebuilt data against recorded digests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlipilot.audit.files import files_below, sha256_file
from mlipilot.reproduce.rebuilt_data import compare_data


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    """The same data set twice."""
    for name in ("recorded", "rebuilt"):
        (tmp_path / name / "train").mkdir(parents=True)
        (tmp_path / name / "train" / "train.xyz").write_text("labels")
        values = {"lattice_constant_a": 3.59, "rdf": [1.0, 2.0], "settings_digest": "ab"}
        (tmp_path / name / "reference.json").write_text(json.dumps(values))
        (tmp_path / name / "manifest-sha256.txt").write_text("")
    return tmp_path / "recorded", tmp_path / "rebuilt"


def _compare(two: tuple[Path, Path]) -> dict[str, str]:
    recorded, rebuilt = two
    protected = {
        f"run/data/{path.relative_to(recorded).as_posix()}": sha256_file(path)
        for path in files_below(recorded)
    }
    return dict(compare_data(protected | {"mlipilot/errors.py": "0" * 64}, recorded, rebuilt))


def test_the_same_bytes(two: tuple[Path, Path]) -> None:
    assert _compare(two) == {"reference.json": "same bytes", "train/train.xyz": "same bytes"}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"lattice_constant_a": 3.59 + 1e-12}, "same values"),
        ({"lattice_constant_a": 3.6}, "differs"),
        ({"rdf": [1.0, 2.0 + 1e-12]}, "same values"),
        ({"rdf": [1.0]}, "differs"),
        ({"settings_digest": "ba"}, "differs"),
        ({"more": 1.0}, "differs"),
    ],
)
def test_values_of_json_files_count_not_their_last_digits(
    two: tuple[Path, Path], changed: dict[str, object], expected: str
) -> None:
    path = two[1] / "reference.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    assert _compare(two)["reference.json"] == expected


def test_labels_must_be_the_same_bytes(two: tuple[Path, Path]) -> None:
    (two[1] / "train" / "train.xyz").write_text("label")
    assert _compare(two)["train/train.xyz"] == "differs"


def test_missing_and_added_files_are_named(two: tuple[Path, Path]) -> None:
    (two[1] / "train" / "train.xyz").rename(two[1] / "train" / "other.xyz")
    found = _compare(two)
    assert (found["train/train.xyz"], found["train/other.xyz"]) == ("missing", "added")


def test_the_run_s_own_copy_of_labels_is_not_looked_at(two: tuple[Path, Path]) -> None:
    protected = {"run/data/train/train.xyz": sha256_file(two[0] / "train" / "train.xyz")}
    (two[0] / "train" / "train.xyz").write_text("changed later")
    assert compare_data(protected, *two)["train/train.xyz"] == "same bytes"
