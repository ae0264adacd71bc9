"""The table of docs/testing.md speaks of the files as they are; no entry of the list has lost its fault."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TABLE = tomllib.loads((ROOT / "ci" / "mutation.toml").read_text(encoding="utf-8"))
ROW = re.compile(r"\| `(mlipilot/.+)` \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+\.\d) % \|")
ROWS = {row[1]: row for row in ROW.finditer((ROOT / "docs" / "testing.md").read_text(encoding="utf-8"))}


@pytest.mark.parametrize("file", TABLE["near"])
def test_the_score_that_is_told_is_of_this_file(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "ci"))
    mutate: Any = __import__("mutate")
    known = [mutate.Equivalent(**entry) for entry in TABLE.get("equivalent", [])]
    made = mutate.mutants((ROOT / file).read_text(encoding="utf-8"))
    counted, equivalent = mutate._sorted_out(file, made, known)
    told, noticed, of_them_equivalent, survived = (int(number) for number in ROWS[file].groups()[1:5])
    again = f"run `python ci/mutate.py {file}` and put its row into docs/testing.md"
    assert (told, of_them_equivalent) == (len(made), equivalent), again
    assert noticed + survived == len(counted) and noticed >= 0.95 * len(counted), again


def test_every_row_is_of_a_file_that_is_tested_so() -> None:
    assert list(ROWS) == list(TABLE["near"])


def test_each_equivalent_fault_has_its_reason() -> None:
    assert [entry for entry in TABLE.get("equivalent", []) if len(entry["reason"]) < 10] == []
