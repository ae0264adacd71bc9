"""The ledger as law: a chain that any change breaks, and a torn end that is cut and confessed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlipilot.audit.events.proposing import Lesson
from mlipilot.audit.ledger import GENESIS, Ledger, LedgerError, read_ledger
from tests.events import event


def _written(path: Path, count: int = 3) -> Ledger:
    ledger = Ledger(path)
    for number in range(count):
        ledger.append(Lesson(iteration=number, text="Å"))
    return ledger


def test_records_chain_from_genesis(tmp_path: Path) -> None:
    records = _written(tmp_path / "ledger.jsonl").records
    assert records[0].prev == GENESIS
    assert [r.prev for r in records[1:]] == [r.hash for r in records[:-1]]
    assert read_ledger(tmp_path / "ledger.jsonl") == records


def test_reopening_goes_on_with_the_chain(tmp_path: Path) -> None:
    _written(tmp_path / "ledger.jsonl")
    Ledger(tmp_path / "ledger.jsonl").append(Lesson(iteration=3, text=""))
    assert [r.seq for r in read_ledger(tmp_path / "ledger.jsonl")] == [0, 1, 2, 3]


def test_every_flipped_byte_is_found_and_its_line_named(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    _written(path)
    original = path.read_bytes()
    for offset in range(len(original)):
        path.write_bytes(original[:offset] + bytes([original[offset] ^ 1]) + original[offset + 1 :])
        with pytest.raises(LedgerError, match=r"ledger\.jsonl:\d+"):
            read_ledger(path)


def test_a_removed_record_breaks_the_chain(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    _written(path)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[0] + lines[2])
    with pytest.raises(LedgerError, match="2: the record does not follow"):
        read_ledger(path)


@given(cut=st.integers(min_value=1, max_value=200))
@settings(max_examples=30)
def test_a_torn_last_line_is_cut_and_confessed(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("ledger") / "ledger.jsonl"
    _written(path)
    data = path.read_bytes()
    last = len(data.splitlines(keepends=True)[-1])
    path.write_bytes(data[: len(data) - min(cut, last - 1)])
    with pytest.raises(LedgerError, match="torn"):
        read_ledger(path)
    ledger = Ledger(path)
    assert [r.event.kind for r in ledger.records] == ["lesson", "lesson", "ledger_repaired"]
    assert read_ledger(path) == ledger.records


def test_a_full_disk_leaves_the_ledger_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = _written(path)
    before = path.read_bytes()
    real_write = __import__("os").write
    monkeypatch.setattr("os.write", lambda fd, data: real_write(fd, data[:10]))
    with pytest.raises(OSError, match="No space left"):
        ledger.append(Lesson(iteration=3, text=""))
    assert path.read_bytes() == before
    assert len(ledger.records) == 3


def test_nan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="finite number"):
        Ledger(tmp_path / "ledger.jsonl").append(event("exchange", usd=float("nan")))


def test_a_line_is_plain_json(tmp_path: Path) -> None:
    _written(tmp_path / "ledger.jsonl")
    first = json.loads((tmp_path / "ledger.jsonl").read_text().splitlines()[0])
    assert set(first) == {"seq", "prev", "time", "kind", "body", "hash"}
