"""Who carries a lineage: what a claim says, which one is in force, and which files are claims."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mlipilot.audit.claims import (
    LOCK,
    Claim,
    Job,
    claim_file,
    claim_in_force,
    is_control_file,
    newest_epoch,
    publish_claim,
)
from mlipilot.audit.process_identity import Fate, ProcessIdentity, booted_at_s, pid_namespace, this_process
from mlipilot.errors import InputError
from tests.shapes import TEXT, Shape, check, inner, optional

FIELDS = {
    "epoch": 3,
    "since": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    "host": "node7",
    "boot_id": "b",
    "pid": 42,
    "start_ticks": 99,
    "pid_namespace": 4026531836,
    "job": None,
}


def _claim(**changes: Any) -> Claim:
    return Claim.model_validate(FIELDS | changes)


def test_the_highest_number_is_in_force_and_nothing_else_counts(tmp_path: Path) -> None:
    assert newest_epoch(tmp_path / "nowhere") == 0
    assert newest_epoch(tmp_path) == 0
    for name in ("lock", "00009.json", "000009.json.bak", ".000009.json.x", "x000009.json", "000009.txt"):
        (tmp_path / name).touch()
    assert newest_epoch(tmp_path) == 0
    for name in ("000002.json", "000010.json", "000003.json"):
        (tmp_path / name).touch()
    assert newest_epoch(tmp_path) == 10
    (tmp_path / "1000000.json").touch()
    assert newest_epoch(tmp_path) == 1000000


def test_a_folder_that_cannot_be_listed_is_not_one_without_claims(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        newest_epoch(tmp_path / "file")


def test_a_claims_file_is_named_by_its_epoch(tmp_path: Path) -> None:
    assert claim_file(tmp_path, 7) == tmp_path / "000007.json"
    assert claim_file(tmp_path, 1234567) == tmp_path / "1234567.json"


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("lock", True),
        ("000001.json", True),
        ("1000000.json", True),
        (".000001.json.1a2b3c4d", True),
        (".000001.json", False),
        ("000001.json.1a2b3c4d", False),
        ("00001.json", False),
        ("000001.txt", False),
        ("evil", False),
        ("lock2", False),
    ],
)
def test_the_files_of_control_are_the_lock_and_claims_and_what_becomes_one(name: str, is_one: bool) -> None:
    assert is_control_file(name) is is_one
    assert LOCK == "lock"


def test_a_later_start_is_of_the_very_same_job() -> None:
    job = Job(id="17_0", restarts=1, cluster="alps")
    assert job.is_later_start_of(Job(id="17_0", restarts=0, cluster="alps"))
    for other in (
        Job(id="17_0", restarts=1, cluster="alps"),
        Job(id="17_0", restarts=2, cluster="alps"),
        Job(id="17_1", restarts=0, cluster="alps"),
        Job(id="17_0", restarts=0, cluster="rhone"),
        Job(id="17_0", restarts=0),
    ):
        assert not job.is_later_start_of(other)


def test_a_job_is_a_number_or_a_task_of_an_array() -> None:
    assert Job(id="17") == Job(id="17", restarts=0, cluster=None)
    assert Job(id="17_3").id == "17_3"
    for wrong in (
        *({"id": text} for text in ("", "17_", "_3", "17_3_4", "1 -u root", "17\n", "x")),
        {"id": "17", "restarts": -1},
        {"id": "17", "more": 1},
        {},
    ):
        with pytest.raises(ValidationError):
            Job.model_validate(wrong)


def test_a_fate_is_a_state_and_why() -> None:
    assert Fate(state="over", why="its host was booted since") == ("over", "its host was booted since")


def test_the_fields_of_a_claim_hold_this_and_nothing_else() -> None:
    whole = Shape((0, 10**12), (None, "x", 0.5))
    number = Shape(("17", "17_3"), (None, 17, "x"))
    restarts = Shape((0, 2), (*whole.refused, -1))
    check(Job, {"id": "17"}, {"id": number, "restarts": restarts, "cluster": optional(TEXT)})
    job = {"id": "17", "restarts": 1, "cluster": None}
    since = Shape(("2026-01-02T03:04:05Z",), (None, "x", "2026-01-02T03:04:05"))
    check(
        Claim,
        FIELDS,
        dict.fromkeys(("epoch", "pid", "start_ticks", "pid_namespace"), whole)
        | dict.fromkeys(("host", "boot_id"), TEXT)
        | {"since": since, "job": optional(inner(job)), "user": optional(TEXT)},
    )


def test_a_claim_does_not_change_and_holds_nothing_else() -> None:
    claim = _claim(job={"id": "17"})
    assert claim.job is not None and claim.user is None
    for model, field in ((claim, "epoch"), (claim.job, "restarts")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(model, field, 9)
    for wrong in ({"more": 1}, {"since": "2026-01-02T03:04:05"}, {"pid": "x"}):
        with pytest.raises(ValidationError):
            _claim(**wrong)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "process 42 on node7 since 2026-01-02T03:04:05+00:00"),
        ({"user": "ada"}, "process 42 on node7, of ada, since 2026-01-02T03:04:05+00:00"),
        ({"job": {"id": "17_0"}}, "process 42 on node7, Slurm job 17_0, since 2026-01-02T03:04:05+00:00"),
        (
            {"user": "ada", "job": {"id": "17"}},
            "process 42 on node7, of ada, Slurm job 17, since 2026-01-02T03:04:05+00:00",
        ),
        ({"host": "n\x1b[2J7\n"}, "process 42 on n7 since 2026-01-02T03:04:05+00:00"),
    ],
)
def test_a_claim_in_words(changes: dict[str, Any], words: str) -> None:
    assert _claim(**changes).words == words


def test_a_claimant_is_a_process_of_a_boot_of_a_host() -> None:
    assert _claim().process == ProcessIdentity(42, 99, "b", "node7")


def test_a_claim_is_published_once_and_found_again(tmp_path: Path) -> None:
    assert claim_in_force(tmp_path) == (0, None)
    claim = _claim(job={"id": "17_0", "cluster": "alps"}, user="ada")
    assert publish_claim(tmp_path, 3, claim) is True
    assert publish_claim(tmp_path, 3, _claim(pid=43)) is False
    assert claim_in_force(tmp_path) == (3, claim)
    text = (tmp_path / "000003.json").read_text()
    written = FIELDS | {
        "since": "2026-01-02T03:04:05Z",
        "job": {"id": "17_0", "restarts": 0, "cluster": "alps"},
        "user": "ada",
    }
    assert text == json.dumps(written, indent=2) + "\n"


def test_an_empty_claim_is_nobodys(tmp_path: Path) -> None:
    publish_claim(tmp_path, 3, _claim())
    assert publish_claim(tmp_path, 4, None) is True
    assert (tmp_path / "000004.json").read_bytes() == b""
    assert claim_in_force(tmp_path) == (4, None)
    (tmp_path / "000004.json").write_text(" \n")
    assert claim_in_force(tmp_path) == (4, None)


@pytest.mark.parametrize("data", [b"{", b"null", b"\xff\xfe", b'{"epoch": 3}'])
def test_what_is_no_claim_is_refused_with_the_mend(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "000005.json"
    path.write_bytes(data)
    with pytest.raises(InputError) as refused:
        claim_in_force(tmp_path)
    assert str(refused.value) == (
        f"{path}: this is no claim of a controller\n"
        f"  mend: if no controller carries this lineage, empty the file: `truncate -s 0 {path}`"
    )


def test_the_fate_of_its_process_is_seen_from_the_claims_own_namespace() -> None:
    mine = asdict(this_process()) | {"pid_namespace": pid_namespace()}
    assert _claim(**mine).fate == Fate("alive", "its process runs")
    assert _claim(**mine | {"pid_namespace": 1}).fate.state == "unknown"
    before = datetime.fromtimestamp(booted_at_s(), UTC)
    booted = mine | {"boot_id": "another"}
    assert _claim(**booted | {"since": before - timedelta(days=1)}).fate.state == "over"
    assert _claim(**booted | {"since": before + timedelta(days=1)}).fate.state == "unknown"
