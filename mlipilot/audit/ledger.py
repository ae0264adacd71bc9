"""The ledger: a hash-chained, append-only JSON-lines file; the one source of a lineage's state.

Each record is `{seq, prev, time, kind, body, hash}`; `hash` is the SHA-256 of the RFC 8785 canonical JSON
of the other fields, and `prev` the hash of the record before. The chain is tamper-evident, not
tamper-proof: whoever can write the directory can rewrite all of it, and a cut tail leaves a valid chain.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import rfc8785
from pydantic import AfterValidator, BaseModel

from mlipilot.audit.events import Event, body_of, read_event
from mlipilot.audit.events.running import LedgerRepaired
from mlipilot.audit.files import append_line, cut_torn_line, sha256_bytes, whole_lines
from mlipilot.errors import CheckFailedError

GENESIS = "0" * 64
_E = TypeVar("_E", bound=BaseModel)


@dataclass(frozen=True)
class Record:
    """One event of a lineage, and its place in the chain."""

    seq: int
    prev: str
    time: str
    """ISO 8601, UTC, to the millisecond."""
    event: Event
    hash: str


class LedgerError(CheckFailedError):
    """The chain is broken, or this version cannot read it; the message names the file and the line."""


def _stamp(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds")


def _as_stamped(time: str) -> str:
    if _stamp(datetime.fromisoformat(time)) != time:
        raise ValueError("not UTC, or not to the millisecond")
    return time


class _Fields(BaseModel, extra="forbid", strict=True):
    """A line as it is written."""

    seq: int
    prev: str
    time: Annotated[str, AfterValidator(_as_stamped)]
    kind: str
    body: dict[str, Any]
    hash: str


def of_kind(records: Iterable[Record], model: type[_E]) -> Iterator[tuple[Record, _E]]:
    """The records whose events are of one kind, each with its event."""
    return ((record, record.event) for record in records if isinstance(record.event, model))


def canonical_digest(value: Any) -> str:
    """SHA-256 of the RFC 8785 canonical JSON of `value`."""
    return sha256_bytes(rfc8785.dumps(value))


def _digest(fields: Mapping[str, Any]) -> str:
    return canonical_digest({key: fields[key] for key in ("seq", "prev", "time", "kind", "body")})


def _parse(line: bytes, expected_seq: int, prev: str) -> Record:
    """One checked record. Raises ValueError saying what is wrong with the line."""
    try:
        fields = json.loads(line)
        said, digest = _Fields.model_validate(fields), _digest(fields)
    except (ValueError, RecursionError):
        raise ValueError("not a ledger record") from None
    if digest != said.hash:
        raise ValueError("the record does not match its hash")
    if said.seq != expected_seq or said.prev != prev:
        raise ValueError("the record does not follow the one before it")
    # The line must be exactly what was written: a changed space or key order is a change too.
    if line != _line(fields).encode():
        raise ValueError("the line is not in the form in which it was written")
    return Record(said.seq, said.prev, said.time, read_event(said.kind, said.body), said.hash)


def _line(fields: Mapping[str, Any]) -> str:
    return bytes(rfc8785.dumps(dict(fields))).decode()


def read_ledger(path: Path) -> list[Record]:
    """Every record, the chain checked. A missing file is an empty ledger.

    Raises LedgerError for the first record that breaks the chain, a torn last line included.
    """
    records, torn = read_open_ledger(path)
    if torn:
        raise LedgerError(f"{path}:{len(records) + 1}: the last line is torn (not ended by a line break)")
    return records


def read_open_ledger(path: Path) -> tuple[list[Record], bytes]:
    """The checked records of a ledger that may be written meanwhile, and its torn end if there is one.

    Raises LedgerError for the first whole record that breaks the chain.
    """
    lines, torn = whole_lines(path)
    records: list[Record] = []
    for line in lines:
        try:
            records.append(_parse(line, len(records), records[-1].hash if records else GENESIS))
        except ValueError as error:
            raise LedgerError(f"{path}:{len(records) + 1}: {error}") from None
    return records, torn


class Ledger:
    """The writing end of a ledger. Only the holder of the lineage's lock may create one.

    `fence` is called before anything is written; it raises when the writer does not hold the lock any more.
    """

    def __init__(self, path: Path, fence: Callable[[], None] = lambda: None) -> None:
        self.path, self.fence = path, fence
        self.records, torn = read_open_ledger(path)
        if torn:
            self.fence()
            cut_torn_line(path)
            self.append(LedgerRepaired(bytes_cut=len(torn), sha256=sha256_bytes(torn)))

    @property
    def head(self) -> str:
        """The hash of the last record; it stands for the whole chain up to here."""
        return self.records[-1].hash if self.records else GENESIS

    def append(self, event: Event) -> Record:
        """Write one record durably and return it.

        Raises OSError, and what `fence` raises, with the file as it was before.
        """
        fields: dict[str, Any] = {
            "seq": len(self.records),
            "prev": self.head,
            "time": _stamp(datetime.now(UTC)),
            "kind": event.kind,
            "body": body_of(event),
        }
        fields["hash"] = _digest(fields)
        self.fence()
        append_line(self.path, _line(fields))
        record = Record(fields["seq"], fields["prev"], fields["time"], event, fields["hash"])
        self.records.append(record)
        return record
