"""Seals: what is signed, what of a run that changed since shows against them, and whose word counts."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlipilot.audit.ledger import Ledger, read_ledger
from mlipilot.audit.manifest import MANIFEST
from mlipilot.audit.seals import pae, seal_run, seals_of
from mlipilot.controller.verification import verify_run
from mlipilot.errors import InputError
from mlipilot.paths import RunPaths
from tests.audit.stamping import Authority, time_stamp_authority
from tests.events import event
from tests.report.synthetic import SyntheticRun, make_spec

pytestmark = pytest.mark.skipif(
    not (shutil.which("ssh-keygen") and shutil.which("openssl")), reason="ssh-keygen or openssl is missing"
)


def test_a_seal_is_a_statement_of_in_toto_in_an_envelope_of_dsse(run: RunPaths, keys: Path) -> None:
    path, unfinished = seal_run(run, keys / "alice", None)
    assert unfinished == ["lineage-0"] and path.parent == run.seals and seals_of(run) == [path]
    envelope = json.loads(path.read_text())
    (signature,) = envelope["signatures"]
    listed = subprocess.run(["ssh-keygen", "-lf", keys / "alice"], capture_output=True, text=True, check=True)
    assert signature["keyid"] == listed.stdout.split()[1]
    statement = json.loads(base64.b64decode(envelope["payload"]))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    assert [subject["name"] for subject in statement["subject"]] == [
        "lineage-0/ledger.jsonl",
        "protected.json",
    ]
    records = read_ledger(run.lineage(0).ledger)
    head = {"records": len(records), "head": records[-1].hash, "finished": False}
    assert statement["predicate"]["heads"] == {"lineage-0/ledger.jsonl": head}
    assert pae(b"hello") == b"DSSEv1 28 application/vnd.in-toto+json 5 hello"


def test_each_sealing_is_a_file_and_a_run_that_grew_agrees_with_all(run: RunPaths, keys: Path) -> None:
    first, _ = seal_run(run, keys / "alice", None)
    ledger = Ledger(run.lineage(0).ledger)
    ledger.append(event("finished", reason="a test", incumbent=0))
    (run.root / MANIFEST).write_text("")
    second, unfinished = seal_run(run, keys / "mallory", None)
    assert first != second and unfinished == []
    found = verify_run(run, keys / "signers")
    assert not any(str(run.seals) in problem for problem in found.problems)
    assert [(seal.path, seal.agrees, seal.signer) for seal in found.seals] == [
        (path, True, "alice@example.org" if path == first else None) for path in sorted((first, second))
    ]
    number = len(ledger.records)
    assert any(
        f"{first}: agrees with {number - 1} of {number} records of lineage-0" in n for n in found.notes
    )
    assert any(str(second) in note and "no allowed signer's" in note for note in found.notes)
    assert not any(str(run.seals) in note and "sealed yet" in note for note in found.notes)
    (run.root / MANIFEST).write_text("\n")
    assert any(f"{second}: report and exported model are not" in note for note in verify_run(run).notes)


def _rewrite(run: RunPaths) -> None:
    """The last record said anew, by whoever can write the ledger: a chain that holds."""
    path = run.lineage(0).ledger
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    Ledger(path).append(event("paused", reason="another story"))


def _cut(run: RunPaths) -> None:
    path = run.lineage(0).ledger
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


CHANGES: dict[str, tuple[Callable[[RunPaths], object], str]] = {
    "cut": (_cut, "lineage-0/ledger.jsonl was cut: it had "),
    "rewritten": (_rewrite, "lineage-0/ledger.jsonl was rewritten"),
    "broken": (lambda run: run.lineage(0).ledger.write_text("{}\n"), "ledger.jsonl cannot be compared"),
    "gone": (
        lambda run: run.lineage(0).root.rename(run.root.parent / "lineage-0"),
        "ledger.jsonl, which is not",
    ),
    "protected": (lambda run: run.protected.write_text("{}"), "protected.json is not the one"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_was_sealed_and_changed_since_is_named(run: RunPaths, keys: Path, what: str) -> None:
    path, _ = seal_run(run, keys / "alice", None)
    change, said = CHANGES[what]
    change(run)
    found = verify_run(run, keys / "signers")
    assert [seal.agrees for seal in found.seals] == [False]
    assert any(problem.startswith(f"{path}: ") and said in problem for problem in found.problems)


def _edit(path: Path, **changes: Any) -> None:
    envelope = json.loads(path.read_text())
    envelope["signatures"][0] |= changes
    path.write_text(json.dumps(envelope))


def _edit_statement(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    envelope = json.loads(path.read_text())
    statement = json.loads(base64.b64decode(envelope["payload"]))
    change(statement)
    envelope["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    path.write_text(json.dumps(envelope))


FORGERIES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no json": (lambda path: path.write_text("{"), "no seal that can be read"),
    "no signature": (lambda path: _edit(path, sig=""), "no seal that can be read"),
    "another signature": (lambda path: _edit(path, sig="U1NIU0lHAAAAAQAAAAEA"), "the signature is not one"),
    "another time": (
        lambda path: _edit_statement(
            path, lambda it: it["predicate"].update(sealed="2020-01-01T00:00:00+00:00")
        ),
        "the signature is not one of what it says",
    ),
    "another file": (
        lambda path: _edit_statement(path, lambda it: it["subject"][0].update(name="../x")),
        "no seal that can be read",
    ),
    "a file twice": (
        lambda path: _edit_statement(path, lambda it: it["subject"].append(it["subject"][0])),
        "no seal that can be read",
    ),
    "a stamp of nothing": (lambda path: _edit(path, rfc3161="AAAA"), "the reply grants no time stamp"),
}


@pytest.mark.parametrize("what", FORGERIES)
def test_a_seal_that_was_edited_is_named(run: RunPaths, keys: Path, what: str) -> None:
    path, _ = seal_run(run, keys / "alice", None)
    change, said = FORGERIES[what]
    change(path)
    found = verify_run(run, keys / "signers")
    assert any(problem.startswith(f"{path}: {said}") for problem in found.problems)
    assert not any(seal.agrees for seal in found.seals)


def test_a_signature_for_another_purpose_is_none(run: RunPaths, keys: Path, tmp_path: Path) -> None:
    path, _ = seal_run(run, keys / "alice", None)
    payload = base64.b64decode(json.loads(path.read_text())["payload"])
    (tmp_path / "signed").write_bytes(pae(payload))
    subprocess.run(
        ["ssh-keygen", "-Y", "sign", "-f", keys / "alice", "-n", "file", tmp_path / "signed"],
        capture_output=True,
        check=True,
    )
    _edit(path, sig="".join((tmp_path / "signed.sig").read_text().splitlines()[1:-1]))
    assert any("the signature is not one" in problem for problem in verify_run(run).problems)


def test_a_lineage_that_came_later_is_not_spoken_of(run: RunPaths, keys: Path) -> None:
    path, _ = seal_run(run, keys / "alice", None)
    SyntheticRun(run.root, make_spec(seeds=[1]), 1)
    found = verify_run(run, keys / "signers")
    assert [seal.agrees for seal in found.seals] == [True]
    assert any(
        note.startswith(f"{path}: agrees with") and "0 of 1 records of lineage-1" in note
        for note in found.notes
    )


def test_a_time_stamp_is_of_the_signature(run: RunPaths, keys: Path, authority: Authority) -> None:
    path, _ = seal_run(run, keys / "alice", authority.url)
    found = verify_run(run)
    assert found.problems == [] and any("(by whom was not checked)" in note for note in found.notes)
    found = verify_run(run, authorities=authority.certificate)
    (seal,) = found.seals
    assert found.problems == [] and seal.stamped is not None and seal.stamped.endswith(" GMT")
    assert seal.is_stamp_checked
    other, _ = seal_run(run, keys / "mallory", None)
    _edit(other, rfc3161=json.loads(path.read_text())["signatures"][0]["rfc3161"])
    assert f"{other}: the time stamp is of something else" in verify_run(run).problems


def test_a_time_stamp_of_another_authority_is_none(
    run: RunPaths, keys: Path, authority: Authority, tmp_path: Path
) -> None:
    seal_run(run, keys / "alice", authority.url)
    with time_stamp_authority(tmp_path) as other:
        found = verify_run(run, authorities=other.certificate)
    assert any("its time stamp is of no authority of" in problem for problem in found.problems)
    assert [seal.agrees for seal in found.seals] == [False]


def test_a_run_without_a_ledger_is_not_sealed(run: RunPaths, keys: Path) -> None:
    run.lineage(0).ledger.unlink()
    with pytest.raises(InputError, match="there is no ledger to seal"):
        seal_run(run, keys / "alice", None)


def test_what_else_lies_among_the_seals_is_named(run: RunPaths, keys: Path) -> None:
    Ledger(run.lineage(0).ledger).append(event("finished", reason="a test", incumbent=0))
    path, _ = seal_run(run, keys / "alice", None)
    (run.seals / ".x.json.abcdefgh").write_text("half")
    (run.seals / "more").write_text("")
    (run.seals / "link.json").symlink_to(path)
    found = verify_run(run)
    assert f"{run.seals / '.x.json.abcdefgh'}: left by a killed write, no part of the record" in found.notes
    assert sorted(problem for problem in found.problems if str(run.seals) in problem) == [
        f"{run.seals / 'link.json'}: no record speaks of this file",
        f"{run.seals / 'more'}: no record speaks of this file",
    ]
