"""The ledger as law: a chain that any change breaks, and a torn end that is cut and confessed.

The forger's files are written here without the ledger's own code: hashes and lines in this test's words.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlipilot.audit.events import body_of
from mlipilot.audit.events.proposing import Lesson
from mlipilot.audit.events.running import Paused
from mlipilot.audit.ledger import (
    Ledger,
    LedgerError,
    Record,
    canonical_digest,
    of_kind,
    read_ledger,
    read_open_ledger,
)
from tests.events import event

ZEROS = "0" * 64
TIME = "2026-01-02T03:04:05.678+00:00"
Fields = dict[str, Any]


def _canonical(value: Any) -> str:
    """RFC 8785 for what these tests write: ASCII keys, no numbers but small whole ones."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _hashed(fields: Fields) -> Fields:
    """The record with the hash of what it says now."""
    told = {key: value for key, value in fields.items() if key != "hash"}
    return told | {"hash": _sha256(_canonical(told))}


def _chain(count: int = 3, prev: str = ZEROS, text: str = "Å") -> list[Fields]:
    records: list[Fields] = []
    for seq in range(count):
        fields = {"seq": seq, "prev": records[-1]["hash"] if records else prev, "time": TIME}
        records.append(_hashed(fields | {"kind": "lesson", "body": {"iteration": seq, "text": text}}))
    return records


def _put(path: Path, lines: list[Any]) -> None:
    """The file with these records, each on a line as it is written, and these lines as they are."""
    texts = [line if isinstance(line, str) else _canonical(line) for line in lines]
    path.write_bytes("".join(f"{text}\n" for text in texts).encode())


def _told(record: Record) -> Fields:
    """What a record says, as it is written."""
    fields = {"seq": record.seq, "prev": record.prev, "time": record.time}
    return fields | {"kind": record.event.kind, "body": body_of(record.event), "hash": record.hash}


def _append(ledger: Ledger, number: int = 0) -> Record:
    return ledger.append(Lesson(iteration=number, text="Å"))


def _written(path: Path, count: int = 3) -> Ledger:
    ledger = Ledger(path)
    for number in range(count):
        _append(ledger, number)
    return ledger


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


def test_a_chain_in_this_tests_words_is_one(path: Path) -> None:
    chain = _chain()
    _put(path, chain)
    assert [_told(record) for record in read_ledger(path)] == chain
    assert Ledger(path).head == chain[-1]["hash"]


def test_what_the_ledger_writes_is_such_a_chain(path: Path) -> None:
    began = datetime.now(UTC)
    records = _written(path).records
    lines = path.read_bytes().decode().split("\n")
    assert lines.pop() == ""
    written = [json.loads(line) for line in lines]
    assert lines == [_canonical(fields) for fields in written]
    assert written == [_hashed(fields) for fields in written]
    assert [fields["prev"] for fields in written] == [ZEROS, *(f["hash"] for f in written[:-1])]
    assert [fields["seq"] for fields in written] == [0, 1, 2]
    assert {tuple(sorted(fields)) for fields in written} == {("body", "hash", "kind", "prev", "seq", "time")}
    assert [_told(record) for record in records] == written
    assert records == read_ledger(path)
    for fields in written:
        assert len(fields["time"]) == len(TIME) and fields["time"].endswith("+00:00")
        assert abs(datetime.fromisoformat(fields["time"]) - began) < timedelta(minutes=5)


def test_a_digest_is_of_the_canonical_form() -> None:
    assert canonical_digest({"b": [1, "Å"], "a": None}) == _sha256('{"a":null,"b":[1,"Å"]}')


def _changed(chain: list[Fields]) -> list[Any]:
    return [chain[0], _hashed(chain[1] | {"body": {"iteration": 1, "text": "better"}}), chain[2]]


def _renumbered(chain: list[Fields]) -> list[Any]:
    return [chain[0], _hashed(chain[1] | {"seq": 2})]


# Each of records that match their own hashes: only the links tell, at this line.
FORGERIES: dict[str, tuple[Callable[[list[Fields]], list[Any]], int]] = {
    "changed": (_changed, 3),
    "renumbered": (_renumbered, 2),
    "linked to nothing": (lambda chain: [chain[0], _hashed(chain[1] | {"prev": ZEROS})], 2),
    "taken from another chain": (lambda chain: [chain[0], _chain(2, text="of another chain")[1]], 2),
    "begun with another past": (lambda _: _chain(1, prev="1" * 64), 1),
    "begun in the middle": (lambda chain: [_hashed(chain[0] | {"seq": 1})], 1),
    "without a record": (lambda chain: [chain[0], chain[2]], 2),
    "without its beginning": (lambda chain: chain[1:], 1),
    "in another order": (lambda chain: [chain[0], chain[2], chain[1]], 2),
    "with a record twice": (lambda chain: [chain[0], chain[1], chain[1]], 3),
    "played again": (lambda chain: [*chain, *chain], 4),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_record_that_was_forged_and_hashed_anew_breaks_the_chain(path: Path, forgery: str) -> None:
    forge, line = FORGERIES[forgery]
    _put(path, forge(_chain()))
    with pytest.raises(LedgerError) as refused:
        read_ledger(path)
    assert str(refused.value) == f"{path}:{line}: the record does not follow the one before it"


@pytest.mark.parametrize(
    "change", [{"time": "2027" + TIME[4:]}, {"kind": "verdict"}, {"body": {}}, {"seq": 2}, {"prev": "f" * 64}]
)
def test_a_record_that_was_changed_alone_does_not_match_its_hash(path: Path, change: Fields) -> None:
    chain = _chain()
    _put(path, [chain[0], chain[1] | change, chain[2]])
    with pytest.raises(LedgerError) as refused:
        read_ledger(path)
    assert str(refused.value) == f"{path}:2: the record does not match its hash"


def test_a_hash_of_the_line_as_it_stands_is_none(path: Path) -> None:
    fields = _chain(1)[0]
    _put(path, [fields | {"hash": fields["hash"].upper()}])
    with pytest.raises(LedgerError, match="does not match its hash"):
        read_ledger(path)


# The same values in other bytes: canonical JSON, and so the hash, does not tell them apart.
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (',"seq":1', ', "seq":1'),
        ('"seq":1', '"seq": 1'),
        ('"seq":1', '"seq":7,"seq":1'),
        ('"iteration":1', '"iteration":1.0'),
        ('"iteration":1,"text":"Å"', '"text":"Å","iteration":1'),
        ("Å", "\\u00c5"),
        ("lesson", "l\\u0065sson"),
        ("}", "} "),
        ("}", "}\r"),
        ("{", " {"),
    ],
)
def test_a_line_in_another_form_is_a_change(path: Path, old: str, new: str) -> None:
    chain = _chain()
    text = _canonical(chain[1])
    assert old in text
    _put(path, [chain[0], new.join(text.rsplit(old, 1)), chain[2]])
    with pytest.raises(LedgerError) as refused:
        read_ledger(path)
    assert str(refused.value) == f"{path}:2: the line is not in the form in which it was written"


@pytest.mark.parametrize("number", ["1.0", "1e0", "true", '"1"'])
def test_a_number_of_another_kind_is_a_change(path: Path, number: str) -> None:
    chain = _chain()
    _put(path, [chain[0], _canonical(chain[1]).replace('"seq":1', f'"seq":{number}'), chain[2]])
    with pytest.raises(LedgerError) as refused:
        read_ledger(path)
    assert str(refused.value) == f"{path}:2: not a ledger record"


FORMS = [("+00:00", ""), ("+00:00", "Z"), ("+00:00", "+01:00"), (".678", ""), (".678", ".678000"), ("T", " ")]


@pytest.mark.parametrize(("part", "other"), [*FORMS, ("-01-02T", "-W01-5T"), (TIME, "20260102T030405.678Z")])
def test_a_time_in_another_form_than_the_ledgers_is_no_time(path: Path, part: str, other: str) -> None:
    _put(path, [_hashed(_chain(1)[0] | {"time": TIME.replace(part, other)})])
    with pytest.raises(LedgerError) as refused:
        read_ledger(path)
    assert str(refused.value) == f"{path}:1: not a ledger record"


def test_the_records_of_one_kind_come_with_their_events(path: Path) -> None:
    ledger = _written(path)
    paused = ledger.append(event("paused", reason="enough"))
    found = list(of_kind(ledger.records, Lesson))
    assert [(record, said.iteration) for record, said in found] == [
        (record, number) for number, record in enumerate(ledger.records[:3])
    ]
    assert [record for record, _ in of_kind(ledger.records, Paused)] == [paused]


@pytest.mark.parametrize(
    "line",
    ["", "{", "null", "[]", "1", "{}", '"seq"', _canonical(_chain(1)[0] | {"more": 1}), "\ufeff{}", "NaN"],
)
def test_what_is_no_record_is_refused(path: Path, line: str) -> None:
    _put(path, [*_chain(1), line])
    with pytest.raises(LedgerError) as refused:
        read_ledger(path)
    assert str(refused.value) == f"{path}:2: not a ledger record"


def test_every_flipped_byte_is_found_and_its_line_named(path: Path) -> None:
    _put(path, _chain(1))
    original = path.read_bytes()
    for offset in range(len(original)):
        path.write_bytes(original[:offset] + bytes([original[offset] ^ 1]) + original[offset + 1 :])
        with pytest.raises(LedgerError, match=r"ledger\.jsonl:\d+"):
            read_ledger(path)


def test_a_missing_file_is_an_empty_ledger(path: Path) -> None:
    assert read_ledger(path) == []
    assert read_open_ledger(path) == ([], b"")
    assert Ledger(path).head == ZEROS
    assert not path.exists()


def test_reopening_goes_on_with_the_chain(path: Path) -> None:
    chain = _chain(2)
    _put(path, chain)
    record = _append(Ledger(path))
    assert (record.seq, record.prev) == (2, chain[1]["hash"])
    assert read_ledger(path)[-1] == record


def test_a_ledger_that_is_written_meanwhile_is_read_up_to_its_torn_end(path: Path) -> None:
    chain = _chain()
    _put(path, chain[:2])
    path.write_bytes(path.read_bytes() + _canonical(chain[2]).encode())
    records, torn = read_open_ledger(path)
    assert [record.hash for record in records] == [fields["hash"] for fields in chain[:2]]
    assert torn == _canonical(chain[2]).encode()
    with pytest.raises(LedgerError) as refused:
        read_ledger(path)
    assert str(refused.value) == f"{path}:3: the last line is torn (not ended by a line break)"


@given(cut=st.integers(min_value=1, max_value=200))
@settings(max_examples=30)
def test_a_torn_last_line_is_cut_and_confessed(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("ledger") / "ledger.jsonl"
    chain = _chain()
    _put(path, chain)
    whole = path.read_bytes()
    kept = len("".join(f"{_canonical(fields)}\n" for fields in chain[:2]).encode())
    path.write_bytes(whole[: max(kept + 1, len(whole) - cut)])
    torn = path.read_bytes()[kept:]
    with pytest.raises(LedgerError, match="torn"):
        read_ledger(path)
    ledger = Ledger(path)
    assert path.read_bytes()[:kept] == whole[:kept]
    told = [_told(record) for record in ledger.records]
    assert [fields["kind"] for fields in told] == ["lesson", "lesson", "ledger_repaired"]
    assert told[-1]["body"] == {"bytes_cut": len(torn), "sha256": hashlib.sha256(torn).hexdigest()}
    assert read_ledger(path) == ledger.records


def test_a_broken_ledger_is_not_opened_for_writing(path: Path) -> None:
    _put(path, _changed(_chain()))
    before = path.read_bytes()
    with pytest.raises(LedgerError, match=":3: the record does not follow"):
        Ledger(path)
    assert path.read_bytes() == before


def test_nothing_is_written_where_the_fence_says_no(path: Path) -> None:
    def closed() -> None:
        raise PermissionError("another holds it")

    _put(path, _chain(1))
    whole = path.read_bytes()
    ledger = Ledger(path, closed)  # to open a whole one writes nothing
    with pytest.raises(PermissionError, match="another holds it"):
        _append(ledger)
    assert (path.read_bytes(), len(ledger.records)) == (whole, 1)
    path.write_bytes(whole + b'{"torn')
    with pytest.raises(PermissionError, match="another holds it"):
        Ledger(path, closed)
    assert path.read_bytes() == whole + b'{"torn'


def test_a_full_disk_leaves_the_ledger_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = _written(path)
    before = path.read_bytes()
    real_write = __import__("os").write
    monkeypatch.setattr("os.write", lambda fd, data: real_write(fd, data[:10]))
    with pytest.raises(OSError, match="No space left"):
        _append(ledger)
    assert path.read_bytes() == before
    assert len(ledger.records) == 3


def test_nan_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="finite number"):
        Ledger(path).append(event("exchange", usd=float("nan")))


def test_a_space_is_a_torn_line_too(path: Path) -> None:
    _put(path, _chain(1))
    with path.open("ab") as stream:
        stream.write(b" ")
    with pytest.raises(LedgerError, match="torn"):
        read_ledger(path)


def test_times_are_utc_wherever_the_machine_stands(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        _append(Ledger(path))
    finally:
        monkeypatch.undo()
        time.tzset()
    (record,) = read_ledger(path)
    assert record.time.endswith("+00:00")
