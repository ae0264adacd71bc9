"""What data sets share: how a directory appears, and whether the one there is the one asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mlipilot.audit.files import sha256_file
from mlipilot.audit.manifest import MANIFEST, write_manifest
from mlipilot.datasets.base import appearing, check_same
from mlipilot.datasets.options import CuEmtOptions, ImportedOptions
from mlipilot.datasets.qm7_b3lyp.qm7_options import Qm7B3lypOptions
from mlipilot.errors import InputError


def test_a_quicker_builder_keeps_its_directory_and_the_other_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match=r"out: the directory exists\n  mend: remove it"),
        appearing(tmp_path / "out") as directory,
    ):
        (directory / "file").write_text("second")
        (tmp_path / "out").mkdir()
        (tmp_path / "out/file").write_text("first")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out/file").read_text() == "first"


def sealed(directory: Path, provenance: Any) -> Path:
    directory.mkdir()
    (directory / "provenance.json").write_text(json.dumps(provenance))
    write_manifest(directory)
    return directory


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, None),
        ({"seed": 3}, "seed is 2026 there, 3 is asked for"),
        ({"seed": 3, "rattled": 1}, "rattled is 4 there, 1 is asked for; seed is 2026 there"),
        ({"temperatures_k": [300.0]}, r"temperatures_k is \[300.0, 1000.0\] there, \[300.0\] is"),
        ({"shards": 3, "processes": 2}, None),
        ({"source": "qm7", "qm7": "x.mat"}, 'source is "embedded" there, "qm7" is asked for'),
    ],
)
def test_a_set_of_other_options_is_another_one(
    tmp_path: Path, asked: dict[str, Any], said: str | None
) -> None:
    there = Qm7B3lypOptions(source="embedded").model_dump(mode="json")
    data = sealed(tmp_path / "data", {"dataset": "qm7_b3lyp", "options": there})
    options = Qm7B3lypOptions.model_validate({"source": "embedded"} | asked)
    if said is None:
        check_same(data, "qm7_b3lyp", options)
        return
    with pytest.raises(InputError, match=rf"data: the data set there is another one: {said}(.|\n)*--output"):
        check_same(data, "qm7_b3lyp", options)


def test_where_the_file_of_qm7_lies_is_no_part_of_the_data(tmp_path: Path) -> None:
    first, second = (Qm7B3lypOptions(source="qm7", qm7=Path(name)) for name in ("a/qm7.mat", "b/qm7.mat"))
    data = sealed(tmp_path / "data", {"dataset": "qm7_b3lyp", "options": first.model_dump(mode="json")})
    check_same(data, "qm7_b3lyp", second)


def test_another_data_set_is_named_and_not_its_options(tmp_path: Path) -> None:
    data = sealed(tmp_path / "data", {"dataset": "qm7_b3lyp", "options": {"seed": 1}})
    with pytest.raises(
        InputError, match='another one: dataset is "qm7_b3lyp" there, "cu_emt" is asked for\n'
    ):
        check_same(data, "cu_emt", CuEmtOptions())


def test_an_imported_set_is_the_one_of_its_manifest(tmp_path: Path) -> None:
    data = sealed(tmp_path / "data", {"dataset": "imported"})
    digest = sha256_file(data / MANIFEST)
    check_same(data, "imported", ImportedOptions(path=Path("elsewhere"), manifest_sha256=digest))
    with pytest.raises(InputError, match=f'manifest_sha256 is "{digest}" there'):
        check_same(data, "imported", ImportedOptions(path=Path("elsewhere"), manifest_sha256="0" * 64))


@pytest.mark.parametrize("content", ["", "1", "[1]", "{"])
def test_a_directory_that_says_nothing_of_itself_is_no_data_set(tmp_path: Path, content: str) -> None:
    (tmp_path / "provenance.json").write_text(content)
    write_manifest(tmp_path)
    with pytest.raises(InputError, match=r"provenance\.json: there is no provenance"):
        check_same(tmp_path, "cu_emt", CuEmtOptions())
