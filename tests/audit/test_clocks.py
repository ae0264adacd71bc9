"""The times of a ledger's records: set back or forward, by a forger or by clocks that differ."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mlipilot.audit.clocks import CLOCKS, verify_times
from mlipilot.audit.ledger import Record
from mlipilot.audit.verification_result import Verification
from tests.events import event

LEDGER = Path("ledger.jsonl")
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
EARLIER = NOON - CLOCKS - timedelta(milliseconds=1)


def found(*told: tuple[str, datetime]) -> Verification:
    said: dict[str, dict[str, Any]] = {
        "candidate_dropped": {"iteration": 1, "why": "w"},
        "resumed": {"epoch": 2},
    }
    said["exchange"] = {"iteration": 1, "prompt_tokens": 1, "completion_tokens": 1}
    said["ledger_repaired"] = {"bytes_cut": 1, "sha256": "0" * 64}
    records = [
        Record(seq, "", time.isoformat(timespec="milliseconds"), event(kind, said.get(kind)), "")
        for seq, (kind, time) in enumerate(told)
    ]
    verification = Verification()
    verify_times(LEDGER, records, verification)
    return verification


def kinds(*names: str) -> Sequence[tuple[str, datetime]]:
    """The first at noon, the others before that by more than clocks differ."""
    return [(name, EARLIER if number else NOON) for number, name in enumerate(names)]


def test_times_that_rise_stand_still_or_go_back_by_a_little_are_good() -> None:
    times = [NOON, NOON, NOON + timedelta(days=400), NOON + timedelta(days=400) - CLOCKS]
    good = found(*(("job_submitted", time) for time in times if time < datetime.now(UTC)))
    assert good.problems == [] and good.notes == []
    assert found(("job_submitted", datetime.now(UTC) + CLOCKS)).notes == []


@pytest.mark.parametrize(
    "names",
    [
        ("job_submitted", "verdict"),
        ("job_submitted", "job_finished", "verdict"),
        ("verdict", "finished"),
        ("resumed", "exchange", "verdict", "resumed"),
        ("verdict", "job_submitted", "paused"),
    ],
)
def test_one_controller_writes_no_record_before_the_one_before(names: tuple[str, ...]) -> None:
    said = f"{LEDGER}:2: {names[1]}.time: 2026-01-02T11:49:59.999+00:00 is 0:10:00.001000 before that"
    bad = found(*kinds(*names))
    assert [problem.startswith(said) for problem in bad.problems] == [True] and bad.notes == []


@pytest.mark.parametrize(
    "names",
    [
        ("paused", "resumed", "job_submitted"),
        ("job_submitted", "ledger_repaired", "resumed"),
        (
            "job_submitted",
            "exchange",
            "exchange",
            "resumed",
        ),  # one that a kill left, found by the next controller
        ("job_submitted", "job_finished", "candidate_dropped"),  # by `mlipilot drop`, typed elsewhere
        ("job_submitted", "job_finished", "cancelled"),
        ("job_submitted", "job_finished"),
        ("verdict", "paused"),
    ],
)
def test_where_another_machine_may_have_taken_over_it_is_a_note(names: tuple[str, ...]) -> None:
    told = found(*kinds(*names))
    assert told.problems == []
    assert [f"{LEDGER}:2: {names[1]}.time: " in note for note in told.notes] == [True]


def test_what_was_set_forward_is_found_by_the_record_after_it() -> None:
    bad = found(("job_submitted", NOON), ("job_finished", NOON + timedelta(days=1)), ("verdict", NOON))
    assert [problem.partition(" is ")[2].partition(": ")[0] for problem in bad.problems] == [
        "1 day, 0:00:00 before that of the record before it"
    ]


def test_a_record_that_is_not_yet_is_a_note_as_the_clock_here_may_be_the_wrong_one() -> None:
    later = datetime.now(UTC) + CLOCKS + timedelta(minutes=1)
    told = found(("job_submitted", NOON), ("verdict", later))
    assert told.problems == [] and len(told.notes) == 1
    assert told.notes[0].startswith(
        f"{LEDGER}:2: verdict.time: {later.isoformat(timespec='milliseconds')} is 0:1"
    )


def test_times_are_compared_though_they_are_told_in_other_zones() -> None:
    east = timedelta(hours=1)
    at = (NOON + east).replace(tzinfo=None).isoformat() + "+01:00"
    verification = Verification()
    told = [Record(0, "", NOON.isoformat(), event("verdict"), ""), Record(1, "", at, event("finished"), "")]
    verify_times(LEDGER, told, verification)
    assert verification.problems == []
