"""Bad YAML gets the file, the line, the value and the likely right key."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from mlipilot.errors import InputError
from mlipilot.yaml_io import line_of, load_yaml, load_yaml_model


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    learning_rate: float = 0.1


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    inner: Inner = Inner()
    many: list[Inner] = []


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("name: x\ninner:\n  learnin_rate: 3\n", [":3:", "'inner.learnin_rate'", "3", "'learning_rate'"]),
        ("name: x\ninner:\n  learning_rate: fast\n", [":3:", "'fast'", "number"]),
        ("inner: {}\n", ["'name' is missing"]),
        ("name: x\nmany:\n  - learning_rate: 1\n  - rate: 2\n", [":4:", "many.1.rate", "learning_rate"]),
        ("name: [unclosed\n", ["not YAML", ":2:"]),
        ("- a\n- b\n", [":1:", "a mapping is expected"]),
        ("name: x\nname: y\n", ["not YAML", "duplicate key"]),
        ("", ["a mapping is expected"]),
    ],
)
def test_fault_names_line_value_and_mend(tmp_path: Path, text: str, parts: list[str]) -> None:
    path = tmp_path / "file.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        load_yaml_model(path, Outer)
    message = str(caught.value)
    assert str(path) in message
    for part in parts:
        assert part in message, message


def test_a_missing_file_suggests_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "cu_emt.yaml").touch()
    with pytest.raises(InputError, match=r"did you mean .*cu_emt\.yaml"):
        load_yaml_model(tmp_path / "cu_emd.yaml", Outer)


def test_binary_is_not_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        load_yaml_model(tmp_path / "x.yaml", Outer)


def test_what_is_done_to_one_reading_is_not_seen_in_the_next(tmp_path: Path) -> None:
    (path := tmp_path / "file.yaml").write_text("name: x\nmany:\n  - a: 1\n  - b: 2\n")
    first = load_yaml(path)
    first["many"].pop()
    first["many"][0]["a"] = 3
    second = load_yaml(path)
    assert second == {"name": "x", "many": [{"a": 1}, {"b": 2}]}
    assert line_of(second, ("many", 1, "b")) == 4


def test_a_reading_has_the_places_and_the_shared_parts_of_its_text(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("first: &x [1, {k: 2}]\nsecond: *x\nthird:\n  <<: {a: 1}\n  b: 3\n")
    for _ in range(2):  # the second is a copy of what was read for the first
        data = load_yaml(path)
        assert data["first"] == [1, {"k": 2}] and data["first"] is data["second"]
        assert dict(data["third"]) == {"a": 1, "b": 3}
        assert (line_of(data, ("second",)), line_of(data, ("third", "b"))) == (2, 5)
        assert line_of(data, ("first", 1, "k")) == 1
