"""A forger edits a field of a kept run's ledger and makes the chain anew: `verify` names what it can know.

Each field of each record is edited, in two ways where there are two. What is not found is in `BELIEVED`, with
the reason.
"""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from typing import Any

import pytest
import rfc8785

from mlipilot.audit.clocks import CLOCKS, verify_times
from mlipilot.audit.events import KINDS, read_event
from mlipilot.audit.ledger import GENESIS, canonical_digest, read_ledger
from mlipilot.audit.lessons import lessons_of
from mlipilot.audit.verification_result import Verification
from mlipilot.controller.verification import verify_lineage, verify_run, wrong_records
from mlipilot.paths import JobKey, RunPaths
from tests.pilots.test_tools import CLAIM
from tests.runs.kept import ARCHIVES, Kept, expectations, ledger_lines, runs_of
from tests.runs.test_formats import OF_NO_RUN

EFFECT = {"metric": "x", "direction": "decrease", "grade": "held", "before": 2.0, "after": 1.0}
Lines = list[dict[str, Any]]

BELIEVED = {
    "campaign_started": {
        "cluster run": "where a controller was: its claim is emptied when it lets go",
        "prompts_digest machine": "the toolkit and the machine that began it are not in the run",
    },
    "resumed": {
        "cluster run": "where a controller was: its claim is emptied when it lets go",
        "unattended": "how it was started",
    },
    "job_submitted without a result": {"order_sha256": "what it was told to run may be gone with it"},
    "job_finished without a result": {"outcome reason": "the controller alone has seen how it ended"},
    "endpoint_probed": {
        "base_url model mode context_tokens max_tokens_field takes_system_role": "the endpoint's word",
        "why requests": "a probe is not in the transcript",
    },
    "heard": {
        "findings records": "who was told at that moment, and how far others were: no farther than now"
    },
    "no_proposal": {"reason": "what replies in the transcript are taken for: a replay shows it"},
    "paused": {"reason mends_by_itself": "what was met outside of the run"},
    "ledger_repaired": {"bytes_cut sha256": "what was cut off is gone"},
}
"""Fields that nothing in the run gives again, by kind; no digest but the chain's holds them.

What is said twice is found where it is changed once: a probe's tokens and price, why a pilot gave up. When a
record was written is known from its neighbours alone.
"""


def believed(kind: str) -> set[str]:
    return {name for names in BELIEVED[kind] for name in names.split()}


def _told_apart(line: dict[str, Any], lines: Lines) -> str:
    """A record's kind, as `BELIEVED` has it."""
    sealed = [_attempt(each) for each in lines if each["body"].get("manifest_sha256")]
    without = line["kind"].startswith("job_") and _attempt(line) not in sealed
    return f"{line['kind']} without a result" if without else str(line["kind"])


def _attempt(line: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(line["body"].get(name) for name in ("iteration", "seed", "job", "revision", "attempt"))


def _others(value: Any, kind: str) -> Iterator[Any]:
    """Values that a field may have instead of its own."""
    match value:
        case bool():
            yield not value
        case int() | float():
            yield from (value + 1, value * 2 + 0.5, value - 1, value / 2)
        case str():
            words = json.dumps(KINDS[kind].model_json_schema())
            yield from (word for word in words.split('"') if word.isidentifier() and word != value)
            yield from (value[:-1] + ("0" if value[-1:] != "0" else "1"), f"{value} x", "permuted-labels")
        case None:
            yield from (
                True,
                1,
                0.5,
                ["prompt_tokens"],
                "x",
                "0" * 64,
                CLAIM,
                *json.dumps(KINDS[kind].model_json_schema()).split('"'),
            )
        case list():
            yield from ([*value, each] for each in ("x", EFFECT, "prompt_tokens"))
            yield value[1:]
        case dict():
            for key in value:
                for other in _others(value[key], kind):
                    yield value | {key: other}
            yield from ({**value, "7": 1}, {})


def _edits(line: dict[str, Any], lines: Lines) -> Iterator[tuple[str, Any]]:
    """Each field that a record may have with two other values that it may have, or the one that there is.

    One of them is of another record of the kind, where that has another; of outcomes each is tried.
    """
    kind, body = line["kind"], line["body"]
    for name in body if kind == "sealed_check" else KINDS[kind].model_fields:
        has = body[name] if name in body else KINDS[kind].model_fields[name].default
        elsewhere = (other["body"].get(name, has) for other in lines if other["kind"] == kind)
        told = (value for value in elsewhere if value != has)
        others = (other for other in chain(islice(told, 1), _others(has, kind)) if other != has)
        possible = (other for other in others if _may_be(kind, body | {name: other}))
        accepted = [*islice(possible, None if name == "outcome" else 2)]
        assert accepted, f"{kind}.{name}: nothing else that it may be is tried"
        yield from ((name, other) for other in accepted)


def _may_be(kind: str, body: dict[str, Any]) -> bool:
    with suppress(ValueError):
        return bool(read_event(kind, body))
    return False


def forge(run: RunPaths, number: int, lines: Lines) -> None:
    """Write a lineage's ledger with a chain that holds, and the findings that follow from all ledgers."""
    run.lineage(number).ledger.write_bytes(chained(lines))
    told = [each for one in run.lineages() for each in lessons_of(one.number, read_ledger(one.ledger))]
    run.findings.write_text("".join(f"{each.model_dump_json()}\n" for each in told))


def chained(lines: Lines) -> bytes:
    prev = GENESIS
    for line in lines:
        line["prev"] = prev
        line["hash"] = prev = canonical_digest({key: line[key] for key in line if key != "hash"})
    return b"".join(rfc8785.dumps(line) + b"\n" for line in lines)


def _problems(run: RunPaths, number: int) -> list[str]:
    """What is wrong with a lineage that was forged, looked for where it is found soonest first."""
    return wrong_records(run, run.lineage(number)) or verify_run(run).problems


def _kinds(name: str) -> set[str]:
    """The kinds of records in the runs of that name."""
    runs = [expectations(archive) for archive in ARCHIVES if archive.name.startswith(name)]
    return {kind for run in runs for said in run.values() for kind in said["kinds"]}


@pytest.mark.slow
@runs_of("local")
@pytest.mark.parametrize(("number", "most"), [(0, 2), (1, 99), pytest.param(0, 99, marks=pytest.mark.sweep)])
def test_each_field_that_the_files_give_is_held_to_them(kept: Kept, number: int, most: int) -> None:
    """Of each kind at most so many records are edited: the first ones and the last."""
    _edit_each(kept, number, most, _kinds("local"))


@pytest.mark.slow
@runs_of("asked")
def test_each_field_of_what_was_asked_for_since_is_held_to_the_files(kept: Kept) -> None:
    _edit_each(kept, 0, 2, _kinds("asked") - _kinds("local"))


def _edit_each(kept: Kept, number: int, most: int, kinds_edited: set[str]) -> None:
    assert verify_run(kept.run).problems == []
    unnoticed = defaultdict(set)
    lines = ledger_lines(kept.run, number)
    alike = defaultdict(list)
    for line in lines:
        if line["kind"] in kinds_edited:
            alike[_told_apart(line, lines)].append(line)
    edited = [line for found in alike.values() for line in (*found[:-1][: most - 1], found[-1])]
    for line in edited:
        body = line["body"]
        for name, other in _edits(line, lines):
            line["body"] = body | {name: other}
            forge(kept.run, number, lines)
            problems = _problems(kept.run, number)
            assert not any("does not match its hash" in problem for problem in problems)
            if not problems:
                unnoticed[_told_apart(line, lines)].add(name)
        line["body"] = body
    kinds = alike.keys()
    assert {kind: sorted(names) for kind, names in unnoticed.items()} == {
        kind: sorted(believed(kind)) for kind in BELIEVED.keys() & kinds
    }


def test_every_kind_is_edited() -> None:
    assert _kinds("local") | _kinds("asked") == KINDS.keys() - OF_NO_RUN.keys()


@runs_of("local")
@pytest.mark.parametrize("days", [-1, 1])
def test_a_time_that_was_set_back_or_forward_is_named(kept: Kept, days: int) -> None:
    """But the first record's to an earlier one: of that, and of all together, nothing here knows."""
    for lineage in kept.run.lineages():
        lines = [json.loads(line) for line in lineage.ledger.read_text().splitlines()]
        for place, line in enumerate(lines):
            other = datetime.fromisoformat(line["time"]) + timedelta(days=days)
            changed = [
                *lines[:place],
                line | {"time": other.isoformat(timespec="milliseconds")},
                *lines[place + 1 :],
            ]
            lineage.ledger.write_bytes(chained([dict(each) for each in changed]))
            found = Verification()
            verify_times(lineage.ledger, read_ledger(lineage.ledger), found)
            is_last = place == len(lines) - 1
            odd = place + 1 if days < 0 else place + 2 - is_last
            named = any(f"{lineage.ledger}:{odd}: " in said for said in found.problems + found.notes)
            known = place > 0 if days < 0 else not is_last or other > datetime.now(UTC) + CLOCKS
            assert named is known, f"{line['kind']} of line {place + 1}"


@runs_of("local")
def test_verify_looks_at_times(kept: Kept) -> None:
    lines = ledger_lines(kept.run, 0)
    place = [line["kind"] for line in lines].index("verdict")
    lines[place]["time"] = "2026-01-01T00:00:00.000+00:00"
    forge(kept.run, 0, lines)
    (problem,) = verify_run(kept.run).problems
    assert problem.startswith(
        f"{kept.run.lineage(0).ledger}:{place + 1}: verdict.time: 2026-01-01T00:00:00.000+00:00 is"
    )
    assert verify_lineage(kept.run, kept.run.lineage(0)) == [problem]


@runs_of("local")
def test_a_ledger_that_was_cut_after_a_verdict_of_a_finished_run_is_found(kept: Kept) -> None:
    """The chain up to there holds; what was done after it did not begin without a record."""
    lines = ledger_lines(kept.run, 0)
    cuts = [number for number, line in enumerate(lines, 1) if line["kind"] == "verdict"]
    assert lines[-1]["kind"] == "finished" and len(cuts) == 3
    for cut in cuts:
        forge(kept.run, 0, lines[:cut])
        problems = verify_run(kept.run).problems
        attempt = kept.run.lineage(0).attempt(JobKey(0, 1, "sealed"), 1)
        assert f"{attempt}: no record speaks of this attempt: the ledger was cut before it" in problems


@runs_of("local")
@pytest.mark.parametrize("records", [0, 1, None])
def test_a_lineage_that_lost_its_beginning_or_is_gone_is_found(kept: Kept, records: int | None) -> None:
    """In a run of several the others go on holding, and one of them has heard of it."""
    lineage = kept.run.lineage(1)
    lines = [json.loads(line) for line in lineage.ledger.read_text().splitlines()]
    if records is None:
        shutil.rmtree(lineage.root)
    else:
        pauses = [line | {"seq": 0} for line in lines if line["kind"] == "paused"]
        lineage.ledger.write_bytes(chained(pauses[:records]))
    kept.run.findings.write_text("")
    problems = verify_run(kept.run).problems
    assert any(
        f"lineage 1 had {len(lines)} records then, and has {records or 0}" in said for said in problems
    )
    begun = f"{lineage.ledger}: no record says how the lineage began that left iterations"
    assert (begun in problems) == (records is not None)
    lineage_0 = kept.run.lineage(0).ledger
    heard = [json.loads(line) for line in lineage_0.read_text().splitlines() if '"heard"' in line]
    assert heard and all("1" in line["body"]["records"] for line in heard)


STRUCK_OUT = {
    "heard": "who was told at that moment",
    "reviewed": "what a reply in the transcript is taken for",
    "lesson": "what a reply in the transcript is taken for; findings.jsonl is made from it",
    "endpoint_probed": "a probe is not in the transcript",
    "paused": "what was met outside of the run",
    "cancelled": "a person's word",
    "ledger_repaired": "what was cut off is gone",
    "exchange": "the last one of a lineage that is not over: a kill leaves that, too",
    "finished": "of a ledger that was cut; its last record's name in Slurm's accounts may show it",
}
"""Kinds of records that can be taken out, with the chain made anew, and nothing in the run shows it."""


@pytest.mark.slow
@runs_of("local")
def test_a_record_that_was_taken_out_is_missed(kept: Kept) -> None:
    unnoticed = set()
    for lineage in kept.run.lineages():
        whole, told = lineage.ledger.read_bytes(), kept.run.findings.read_bytes()
        lines = [json.loads(line) for line in whole.splitlines()]
        for place, line in enumerate(lines):
            rest = [one | {"seq": seq} for seq, one in enumerate(lines[:place] + lines[place + 1 :])]
            forge(kept.run, lineage.number, rest)
            if not (verify_lineage(kept.run, lineage) or verify_run(kept.run).problems):
                unnoticed.add(line["kind"])
            lineage.ledger.write_bytes(whole)
            kept.run.findings.write_bytes(told)
    assert unnoticed - STRUCK_OUT.keys() == set()
