"""The events as law: the bytes of every kind of record, what of it may be missing, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from mlipilot.audit.events import KINDS, body_of, read_event
from mlipilot.audit.events.concluding import SealedCheck
from mlipilot.audit.events.running import JobFinished, JobSubmitted
from mlipilot.audit.files import sha256_bytes
from mlipilot.audit.ledger import GENESIS, Ledger, LedgerError, read_ledger
from mlipilot.audit.lessons import lessons_of
from mlipilot.controller.state import replay
from mlipilot.paths import JobKey
from tests.events import event, named

WRITTEN = (Path(__file__).parent / "records_of_format_1.jsonl").read_bytes().splitlines()
"""Records of real runs, by the code that had no models yet; each of its kinds, and each form of a kind. Last
one of each kind that came later, as it was written first."""
AUDIT = Path(__file__).parents[2] / "docs" / "audit.md"


def forge(path: Path, *records: dict[str, Any]) -> None:
    """A ledger whose chain is intact, whatever its records say: kind, body and what else is given."""
    prev, lines = GENESIS, []
    for seq, said in enumerate(records):
        fields = {"seq": seq, "prev": prev, "time": "2026-11-30T05:30:24.000+00:00"} | said
        fields["hash"] = prev = sha256_bytes(rfc8785.dumps(fields))
        lines.append(rfc8785.dumps(fields) + b"\n")
    path.write_bytes(b"".join(lines))


def written(kind: str) -> dict[str, Any]:
    """The body of a record of format 1."""
    bodies: list[dict[str, Any]] = [
        json.loads(line)["body"] for line in WRITTEN if f'"{kind}"' in line.decode()
    ]
    return bodies[0]


def test_every_kind_is_among_the_records_that_were_written() -> None:
    assert {json.loads(line)["kind"] for line in WRITTEN} == KINDS.keys()


@pytest.mark.parametrize("line", WRITTEN, ids=lambda line: json.loads(line)["kind"])
def test_what_was_written_is_written_again_byte_for_byte(line: bytes) -> None:
    fields = json.loads(line)
    again = fields | {"body": body_of(read_event(fields["kind"], fields["body"]))}
    assert rfc8785.dumps(again) == line
    del again["hash"]
    assert sha256_bytes(rfc8785.dumps(again)) == fields["hash"]


@pytest.mark.parametrize("line", WRITTEN, ids=lambda line: json.loads(line)["kind"])
def test_an_event_that_is_appended_is_read_again_as_it_was(line: bytes, tmp_path: Path) -> None:
    fields = json.loads(line)
    appended = Ledger(tmp_path / "ledger.jsonl").append(read_event(fields["kind"], fields["body"]))
    (record,) = read_ledger(tmp_path / "ledger.jsonl")
    assert record == appended and body_of(record.event) == body_of(appended.event) == fields["body"]


def test_a_record_keeps_its_bytes_however_its_numbers_are_spelt(tmp_path: Path) -> None:
    """The hash is of what was written, not of what a model makes of it."""
    body = written("exchange")
    assert isinstance(read_event("exchange", body | {"usd": 0, "duration_s": 1}).usd, float)  # type: ignore[union-attr]
    for usd in (0, 0.0):
        forge(tmp_path / "ledger.jsonl", {"kind": "exchange", "body": body | {"usd": usd}})
        before = (tmp_path / "ledger.jsonl").read_bytes()
        Ledger(tmp_path / "ledger.jsonl").append(event("cancelled"))
        assert (tmp_path / "ledger.jsonl").read_bytes().startswith(before)
        assert len(read_ledger(tmp_path / "ledger.jsonl")) == 2


LATER_FIELDS: dict[str, dict[str, Any]] = {
    "campaign_started": {
        "backend": "local",
        "image_sha256": None,
        "epoch": None,
        "cluster": None,
        "run": None,
    },
    "resumed": {"epoch": None, "cluster": None, "run": None, "unattended": False},
    "exchange": {"role": "researcher", "usd": 0.0, "estimated": []},
    "endpoint_probed": {"usd": 0.0},
    "job_submitted": {"fresh": False, "variant": "", "order_sha256": None},
    "job_finished": {"free": False, "fresh": False, "variant": ""}
    | dict.fromkeys(("job_id", "job_name", "node", "bad_node"))
    | dict.fromkeys(("sealed_by", "dropped", "isolation", "machine", "exit_status")),
    "paused": {"mends_by_itself": False},
    "proposed": {"revision": None},
    "confirmation_asked": {"most_seeds": None, "permuted_labels": False, "leave_out": 0.0},
    "confirmed": {"control": None, "goes_on_to": None},
}
"""By kind, and what a record is read as that does not say it."""


@pytest.mark.parametrize("kind", LATER_FIELDS)
def test_what_came_later_than_its_kind_may_be_missing_and_nothing_else_may(kind: str) -> None:
    body, later = written(kind), LATER_FIELDS[kind]
    old = {name: body[name] for name in body if name not in later}
    assert body_of(read_event(kind, old)) == old
    assert {name: getattr(read_event(kind, old), name) for name in later} == later
    for name in old:
        with pytest.raises(ValueError, match=rf"{kind}\.{name}: Field required; no version up to this one"):
            read_event(kind, {other: old[other] for other in old if other != name})


def test_the_first_record_of_the_oldest_runs_names_versions_beside_the_list() -> None:
    oldest = written("campaign_started") | {"mlipilot": "0.1.0", "python": "3.11.7", "machine": "EPYC"}
    assert body_of(read_event("campaign_started", oldest)) == oldest


NO_VERSION = "no version up to this one writes such a record"
LATER = "in this version; a later version of MLIPilot may have written it: use that one"


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("verdict", {"iteration": True}, "verdict.iteration: Input should be a valid integer (it is True); "),
        ("verdict", {"iteration": "1"}, "verdict.iteration: Input should be a valid integer (it is '1'); "),
        ("verdict", {"iteration": -1}, "verdict.iteration: Input should be greater than or equal to 0"),
        ("verdict", {"iteration": 10**12}, "verdict.iteration: Input should be less than 1000000"),
        ("verdict", {"gain": True}, "verdict.gain: Input should be a valid number"),
        ("verdict", {"verdict": "brilliant\x1b[2J"}, "(it is 'brilliant\\x1b[2J'); "),
        ("verdict", {"effects": [{"metric": "m"}]}, "verdict.effects.0.direction: Field required"),
        ("drafted", {"revision": 0}, "drafted.revision: Input should be greater than or equal to 1"),
        ("drafted", {"hypothesis": "More."}, "drafted.hypothesis: Input should be"),
        ("reviewed", {"approved": 1}, "reviewed.approved: Input should be a valid boolean (it is 1); "),
        ("job_finished", {"outcome": "won"}, "job_finished.outcome: Input should be 'ok', 'failed'"),
        ("job_finished", {"job_id": 40}, "job_finished.job_id: Input should be a valid string (it is 40); "),
        ("job_finished", {"cpu_s": "long"}, "job_finished.cpu_s: Input should be a valid number"),
        ("job_finished", {"cpu_s": -1.0}, "job_finished.cpu_s: Input should be greater than or equal to 0"),
        ("job_finished", {"gpu_s": -0.1}, "job_finished.gpu_s: Input should be greater than or equal to 0"),
        ("job_finished", {"wall_s": -1.0}, "job_finished.wall_s: Input should be greater than or equal to 0"),
        ("job_finished", {"manifest_sha256": "ab" * 31}, "job_finished.manifest_sha256: String should match"),
        ("job_submitted", {"seed": -1}, "job_submitted.seed: Input should be greater than or equal to 0"),
        ("exchange", {"usd": -0.01}, "exchange.usd: Input should be greater than or equal to 0"),
        ("exchange", {"duration_s": -1.0}, "exchange.duration_s: Input should be greater than or equal to 0"),
        ("exchange", {"prompt_tokens": -1}, "exchange.prompt_tokens: Input should be greater than or equal"),
        ("exchange", {"sha256": "AB" * 32}, "exchange.sha256: String should match pattern"),
        ("endpoint_probed", {"usd": -1.0}, "endpoint_probed.usd: Input should be greater than or equal to 0"),
        ("proposed", {"recipe_digest": "ab" * 32 + "\n"}, "proposed.recipe_digest: String should match"),
        (
            "campaign_started",
            {"spec_sha256": ""},
            "campaign_started.spec_sha256: String should match pattern",
        ),
        ("ledger_repaired", {"bytes_cut": -1}, "ledger_repaired.bytes_cut: Input should be greater than or"),
        ("job_finished", {"machine": {"cores": 8}}, "job_finished.machine.processor: Field required"),
        ("heard", {"records": {"one": 1}}, "heard.records.one.[key]: String should match pattern"),
        ("sealed_check", {"0": {"m": {"sealed": 1.0}}}, "sealed_check.0.m.test: Field required"),
        ("cancelled", {"kind": "finished"}, f"there is no field cancelled.kind {LATER}"),
        ("paused", {"until": "2027"}, f"there is no field paused.until {LATER}"),
        ("job_finished", {"isolation": {"vm": True}}, f"there is no field job_finished.isolation.vm {LATER}"),
        ("crowned\x1b[2J", {}, f"there is no kind of record 'crowned' {LATER}"),
    ],
)
def test_what_a_forger_or_a_later_version_writes_is_named_with_its_line(
    tmp_path: Path, kind: str, change: dict[str, Any], said: str
) -> None:
    path = tmp_path / "ledger.jsonl"
    body = (written(kind) if kind in KINDS else {}) | change
    forge(path, {"kind": "cancelled", "body": {}}, {"kind": kind, "body": body})
    with pytest.raises(LedgerError) as refused:
        read_ledger(path)
    words = str(refused.value)
    assert words.startswith(f"{path}:2: ") and said in words and "\n" not in words and "\x1b" not in words
    assert (NO_VERSION in words) != (LATER in words)
    with pytest.raises(LedgerError):
        Ledger(path)


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        ("k" * 40, {}, f"there is no kind of record '{'k' * 40}' {LATER}"),
        ("k" * 41, {}, f"there is no kind of record '{'k' * 38} …' {LATER}"),
        ("cancelled", {"f" * 90: 1}, f"there is no field cancelled.{'f' * 90} {LATER}"),
        ("cancelled", {"f" * 91: 1}, f"there is no field cancelled.{'f' * 88} … {LATER}"),
        (
            "paused",
            {"reason": 10**59},
            f"paused.reason: Input should be a valid string (it is 1{'0' * 59}); {NO_VERSION}",
        ),
        (
            "paused",
            {"reason": 10**60},
            f"paused.reason: Input should be a valid string (it is 1{'0' * 57} …); {NO_VERSION}",
        ),
    ],
)
def test_what_is_strange_is_cut_where_it_is_long(kind: str, body: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match="this") as refused:
        read_event(kind, body)
    assert str(refused.value) == said


@pytest.mark.parametrize(
    "change",
    [
        {"seq": False},
        {"seq": 0.5},
        {"time": 5},
        {"time": "yesterday"},
        {"time": "2026-11-30T05:30:24.000"},
        {"kind": 3},
        {"body": []},
        {"extra": 1},
        {"prev": None},
    ],
)
def test_a_line_that_is_no_record_is_named_though_its_hash_fits(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    forge(tmp_path / "ledger.jsonl", {"kind": "cancelled", "body": {}} | change)
    with pytest.raises(LedgerError, match=r"ledger\.jsonl:1: not a ledger record"):
        read_ledger(tmp_path / "ledger.jsonl")


def test_a_hash_that_is_no_text_makes_no_record(tmp_path: Path) -> None:
    forge(tmp_path / "ledger.jsonl", {"kind": "cancelled", "body": {}})
    fields = json.loads((tmp_path / "ledger.jsonl").read_bytes())
    (tmp_path / "ledger.jsonl").write_bytes(rfc8785.dumps(fields | {"hash": 5}) + b"\n")
    with pytest.raises(LedgerError, match=r"ledger\.jsonl:1: not a ledger record"):
        read_ledger(tmp_path / "ledger.jsonl")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "9007199254740993"])
def test_numbers_that_the_canonical_form_has_not_are_named(tmp_path: Path, number: str) -> None:
    forge(tmp_path / "ledger.jsonl", {"kind": "exchange", "body": written("exchange") | {"usd": 0.125}})
    text = (tmp_path / "ledger.jsonl").read_text()
    (tmp_path / "ledger.jsonl").write_text(text.replace("0.125", number))
    with pytest.raises(LedgerError, match=r"ledger\.jsonl:1: "):
        read_ledger(tmp_path / "ledger.jsonl")


@pytest.mark.parametrize("depth", [900, 100_000])
def test_a_line_that_is_nested_without_end_is_named(tmp_path: Path, depth: int) -> None:
    forge(tmp_path / "ledger.jsonl", {"kind": "cancelled", "body": {"a": 1}})
    text = (tmp_path / "ledger.jsonl").read_text()
    (tmp_path / "ledger.jsonl").write_text(text.replace('"a":1', '"a":' + "[" * depth + "]" * depth))
    with pytest.raises(
        LedgerError, match=r"ledger\.jsonl:1: (not a ledger record|the record does not match)"
    ):
        read_ledger(tmp_path / "ledger.jsonl")


@pytest.mark.parametrize("earlier", [{"attempt": 2}, {"seed": 2}, {"job": "evaluate"}, {"iteration": 1}])
def test_an_end_of_what_was_not_begun_is_named(tmp_path: Path, earlier: dict[str, Any]) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.append(event("job_submitted", earlier))
    ledger.append(event("job_finished"))
    with pytest.raises(
        LedgerError, match=r"line 2 of a ledger \(job_finished\) speaks of what no line before"
    ):
        replay(read_ledger(tmp_path / "ledger.jsonl"))


def test_a_lesson_of_no_verdict_is_not_shared(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for said in (
        event("lesson", iteration=0, text="early"),
        event("proposed", iteration=0),
        event("verdict"),
    ):
        ledger.append(said)
    assert lessons_of(0, ledger.records) == []
    ledger.append(event("lesson", iteration=0, text="in time"))
    (lesson,) = lessons_of(0, ledger.records)
    assert (lesson.lesson, lesson.verdict_record) == ("in time", ledger.records[2].hash)


@pytest.mark.parametrize("key", [JobKey(3, 7, "smoke", 2), JobKey(3, 7, "train"), JobKey(0, 1, "sealed")])
def test_a_job_is_named_in_full_and_its_revision_only_where_it_has_one(key: JobKey) -> None:
    submitted = JobSubmitted.of(key, 2)
    assert submitted.key == key and body_of(submitted) == named(key, 2)
    assert ("revision" in body_of(submitted)) == (key.kind == "smoke")


def test_cpu_time_that_is_not_known_counts_as_one_busy_core() -> None:
    for cpu_s, counted in ((None, 7.5), (0.0, 0.0), (3.0, 3.0)):
        ended = event("job_finished", cpu_s=cpu_s, wall_s=7.5)
        assert isinstance(ended, JobFinished) and ended.counted_cpu_s == counted


def test_a_job_with_a_fresh_seed_says_so_and_no_other_does() -> None:
    for fresh in (False, True):
        said = JobSubmitted.of(JobKey(1, 7, "train", fresh=fresh), 2)
        assert said.key == JobKey(1, 7, "train", fresh=fresh)
        assert body_of(said).get("fresh", "unsaid") == (True if fresh else "unsaid")


def test_a_job_of_a_variant_says_of_which_and_no_other_does() -> None:
    for variant in ("permuted-labels", "without-0003"):
        key = JobKey(4, 7, "train", fresh=True, variant=variant)
        said = JobSubmitted.of(key, 1)
        assert said.key == key and body_of(said)["variant"] == variant
    assert "variant" not in body_of(JobSubmitted.of(JobKey(4, 7, "train"), 1))


def test_the_sealed_check_is_read_by_iteration() -> None:
    check = event("sealed_check", {"0": {"m": {"sealed": 2.0, "test": None}}})
    assert isinstance(check, SealedCheck)
    assert (check.of(0)["m"].sealed, check.of(0)["m"].test) == (2.0, None)
    assert check.of(1) == check.of(None) == {}


def test_the_list_in_the_docs_is_that_of_the_models() -> None:
    text = AUDIT.read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| `([a-z_]+)` \| (.*) \|$", text.partition("\n## Kinds of ledger records\n")[2], re.MULTILINE
    )
    assert rows == [(kind, (model.__doc__ or "").splitlines()[0]) for kind, model in KINDS.items()]
