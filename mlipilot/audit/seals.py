"""Seals: what the heads of a run's ledgers were, signed by an SSH key that need not be its owner's.

A seal is an in-toto statement (v1) in a DSSE envelope. What is signed is DSSE's PAE of the statement, in the
way that `ssh-keygen -Y sign` signs anything: SSHSIG hashes it and names the purpose (`NAMESPACE`). `sig` is
that signature, SSHSIG's blob in base64, as DSSE wants; between the two lines of its armour ssh-keygen reads
it. `rfc3161`, a field of our own beside it, is an authority's time stamp of that blob.

An earlier head is a prefix of a later ledger: a seal agrees for as long as the run only grows.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import rfc8785
from pydantic import Base64Bytes, BaseModel, Field

from mlipilot import __version__
from mlipilot.audit.events.running import Finished
from mlipilot.audit.files import publish_new, read_regular, sha256_bytes, sha256_file
from mlipilot.audit.ledger import LedgerError, of_kind, read_open_ledger
from mlipilot.audit.manifest import MANIFEST
from mlipilot.audit.rights import check_may_write
from mlipilot.audit.signing import check_signature, check_stamp, fingerprint, sign, stamped_at, time_stamp
from mlipilot.audit.verification_result import Seal, Verification
from mlipilot.errors import InputError
from mlipilot.paths import LineagePaths, RunPaths

PAYLOAD_TYPE = "application/vnd.in-toto+json"
_MAX_BYTES = 4 * 1024 * 1024
_Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Head(BaseModel, extra="forbid", strict=True):
    """How far a ledger went: how many records it had, the hash of the last one, whether it was over."""

    records: int = Field(ge=1)
    head: _Digest
    finished: bool


class _Digests(BaseModel):
    sha256: _Digest


class _Subject(BaseModel):
    name: str
    digest: _Digests


class _Predicate(BaseModel):
    sealed: str
    mlipilot: str
    heads: dict[Annotated[str, Field(pattern="^lineage-[0-9]{1,9}/ledger[.]jsonl$")], _Head] = Field(
        min_length=1
    )


class _Statement(BaseModel):
    """What in-toto calls so; the SHA-256 of a ledger is that of the records it had."""

    statement: Literal["https://in-toto.io/Statement/v1"] = Field(
        "https://in-toto.io/Statement/v1", alias="_type"
    )
    subject: list[_Subject]
    predicate_type: Literal["https://mlipilot.invalid/heads/v1"] = Field(
        "https://mlipilot.invalid/heads/v1", alias="predicateType"
    )
    predicate: _Predicate


class _Signature(BaseModel):
    sig: Base64Bytes
    rfc3161: Base64Bytes | None = None


class _Envelope(BaseModel):
    payload: Base64Bytes
    payload_type: Literal["application/vnd.in-toto+json"] = Field(alias="payloadType")
    signatures: tuple[_Signature]


def seals_of(run: RunPaths) -> list[Path]:
    """The files that are seals by their names, the oldest first."""
    return sorted(path for path in run.seals.glob("[!.]*.json") if not path.is_symlink())


def seal_run(run: RunPaths, key: Path, timestamp: str | None) -> tuple[Path, list[str]]:
    """Sign the heads of all ledgers of `run`, have that stamped at the address `timestamp`, and publish it.

    Returns the new file and which lineages are not over. Raises InputError and, for a broken chain,
    LedgerError, with nothing written.
    """
    check_may_write(run.seals)
    statement = _statement(run)
    payload = rfc8785.dumps(statement.model_dump(by_alias=True))
    signature = sign(pae(payload), key)
    entry = {"keyid": fingerprint(signature), "sig": _text(signature)}
    if timestamp is not None:
        entry["rfc3161"] = _text(time_stamp(signature, timestamp))
    envelope = {"payload": _text(payload), "payloadType": PAYLOAD_TYPE, "signatures": [entry]}
    text = json.dumps(envelope, indent=2, sort_keys=True) + "\n"
    run.seals.mkdir(exist_ok=True)
    at = datetime.fromisoformat(statement.predicate.sealed)
    path = run.seals / f"{at:%Y%m%dT%H%M%SZ}-{sha256_bytes(text.encode())[:12]}.json"
    if not publish_new(path, text):
        raise InputError("there is such a seal already", file=path, mend="seal again")
    return path, [
        Path(name).parent.name for name, head in statement.predicate.heads.items() if not head.finished
    ]


def pae(payload: bytes) -> bytes:
    """What DSSE has signed: the type and the payload, each behind its length in bytes."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def _statement(run: RunPaths) -> _Statement:
    heads, digests = dict[str, _Head](), dict[str, str]()
    for lineage in run.lineages():
        records, _ = read_open_ledger(lineage.ledger)
        if records:
            is_over = any(of_kind(records, Finished))
            heads[_name(lineage)] = _Head(records=len(records), head=records[-1].hash, finished=is_over)
            digests[_name(lineage)] = _digest_of_first(len(records), lineage.ledger)
    if not heads:
        raise InputError(
            "no lineage has begun: there is no ledger to seal", file=run.root, mend=run.resuming()
        )
    for path in (run.protected, run.root / MANIFEST):
        if path.is_file():
            digests[path.name] = sha256_file(path)
    return _Statement(
        subject=[_Subject(name=name, digest=_Digests(sha256=digest)) for name, digest in digests.items()],
        predicate=_Predicate(
            sealed=datetime.now(UTC).isoformat(timespec="milliseconds"), mlipilot=__version__, heads=heads
        ),
    )


def verify_seals(
    run: RunPaths, found: Verification, signers: Path | None = None, authorities: Path | None = None
) -> None:
    """Hold each seal to the ledgers as they are, its key to `signers`, its time stamp to `authorities`.

    Raises InputError where one of these is given and the program that it takes is missing.
    """
    for path in seals_of(run):
        try:
            envelope, heads, digests = _read(path, run)
            (signature,) = envelope.signatures
            key = fingerprint(signature.sig)
        except (OSError, ValueError):
            found.problems.append(f"{path}: no seal that can be read")
            continue
        wrong, words = list(_contradictions(run, heads, digests)), [f"signed by {key}"]
        signer = _signer(envelope, signers, wrong, words)
        stamped = _stamp(signature, authorities, wrong, words)
        is_checked = stamped is not None and authorities is not None
        found.seals.append(Seal(path, key, signer, not wrong, stamped, is_checked))
        found.problems += [f"{path}: {said}" for said in wrong]
        if not wrong:
            found.notes.append(f"{path}: agrees with {', '.join(_reach(run, heads))}; {', '.join(words)}")
            found.notes += _of_another_report(run, path, digests)


def _read(path: Path, run: RunPaths) -> tuple[_Envelope, dict[str, _Head], dict[str, str]]:
    """A seal's envelope, its heads, and the SHA-256 of its subjects. Raises ValueError and OSError."""
    envelope = _Envelope.model_validate_json(read_regular(path, _MAX_BYTES))
    statement = _Statement.model_validate_json(envelope.payload)
    heads = statement.predicate.heads
    digests = {subject.name: subject.digest.sha256 for subject in statement.subject}
    if len(digests) != len(statement.subject):
        raise ValueError("a file is named twice")
    if not heads.keys() <= digests.keys() <= {*heads, run.protected.name, MANIFEST}:
        raise ValueError("not the subjects of a seal")
    return envelope, heads, digests


def _signer(envelope: _Envelope, signers: Path | None, wrong: list[str], words: list[str]) -> str | None:
    """By which allowed signer a seal is; what is wrong with its signature, or what to say of it, is added."""
    (signature,) = envelope.signatures
    try:
        signer = check_signature(pae(envelope.payload), signature.sig, signers)
    except ValueError as error:
        wrong.append(str(error))
        return None
    except InputError as error:
        if signers is not None:
            raise
        words.append(f"which was not checked: {str(error).splitlines()[0]}")
        return None
    if signer is not None:
        words.append(f"which is {signer}'s")
    else:
        words.append(
            "which is no allowed signer's" if signers else "and whose that is only `--signers` can say"
        )
    return signer


def _stamp(signature: _Signature, authorities: Path | None, wrong: list[str], words: list[str]) -> str | None:
    """The time of a seal's stamp; what is wrong with it, or what to say of it, is added."""
    if signature.rfc3161 is None:
        return None
    try:
        stamped = stamped_at(signature.rfc3161, signature.sig)
        if authorities is not None:
            check_stamp(signature.rfc3161, signature.sig, authorities)
    except ValueError as error:
        wrong.append(str(error))
        return None
    except InputError as error:
        if authorities is not None:
            raise
        words.append(f"its time stamp was not checked: {str(error).splitlines()[0]}")
        return None
    words.append(f"stamped {stamped}" + ("" if authorities else " (by whom was not checked)"))
    return stamped


def _contradictions(run: RunPaths, heads: dict[str, _Head], digests: dict[str, str]) -> Iterator[str]:
    """In what a run is not what a seal says of it."""
    there = {_name(lineage): lineage.ledger for lineage in run.lineages()}
    for name, head in heads.items():
        if name not in there:
            yield f"it speaks of {name}, which is not here"
            continue
        try:
            records, _ = read_open_ledger(there[name])
        except LedgerError as error:
            yield f"what it says of {name} cannot be compared: {error}"
            continue
        if len(records) < head.records:
            yield f"{name} was cut: it had {head.records} records when it was sealed, now {len(records)}"
        elif (
            records[head.records - 1].hash != head.head
            or _digest_of_first(head.records, there[name]) != digests[name]
        ):
            yield f"{name} was rewritten: record {head.records - 1} is not the head that was sealed"
    if run.protected.name in digests and not _is(run.protected, digests[run.protected.name]):
        yield f"{run.protected.name} is not the one that was sealed"


def _reach(run: RunPaths, heads: dict[str, _Head]) -> Iterator[str]:
    for lineage in run.lineages():
        number = lineage.ledger.read_bytes().count(b"\n") if lineage.ledger.is_file() else 0
        sealed = heads[_name(lineage)].records if _name(lineage) in heads else 0
        yield f"{sealed} of {number} records of {lineage.root.name}"


def _of_another_report(run: RunPaths, path: Path, digests: dict[str, str]) -> Iterator[str]:
    if MANIFEST in digests and not _is(run.root / MANIFEST, digests[MANIFEST]):
        yield f"{path}: report and exported model are not those that were sealed: they were made anew since"


def _is(path: Path, digest: str) -> bool:
    return path.is_file() and sha256_file(path) == digest


def _digest_of_first(records: int, ledger: Path) -> str:
    """SHA-256 of a ledger's first records, as `head -n RECORDS | sha256sum` has it."""
    return sha256_bytes(b"\n".join([*ledger.read_bytes().split(b"\n")[:records], b""]))


def _name(lineage: LineagePaths) -> str:
    return f"{lineage.root.name}/{lineage.ledger.name}"


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
