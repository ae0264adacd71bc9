"""A forger puts true records where they cannot have been written: what was due there says so."""

from __future__ import annotations

from typing import Any

import pytest

from mlipilot.controller.verification import verify_run, wrong_records
from tests.runs.kept import Kept, ledger_lines, runs_of
from tests.runs.test_forgery import forge

TWICE = {
    "paused": "what was met outside of the run",
    "cancelled": "a person's word",
    "ledger_repaired": "what was cut off is gone",
    "endpoint_probed": "a probe is not in the transcript",
    "heard": "who was told at that moment",
}
"""Kinds of records that may come again at once."""


def _verified(kept: Kept, lines: list[dict[str, Any]], number: int = 0) -> list[str]:
    forge(kept.run, number, [line | {"seq": seq} for seq, line in enumerate(lines)])
    return wrong_records(kept.run, kept.run.lineage(number)) or verify_run(kept.run).problems


@pytest.mark.slow
@runs_of("local")
@pytest.mark.parametrize("number", [0, 1])
def test_what_was_done_comes_neither_twice_nor_after_the_end(kept: Kept, number: int) -> None:
    lines = ledger_lines(kept.run, number)
    is_over = lines[-1]["kind"] == "finished"
    assert is_over is (number == 0) and _verified(kept, lines, number) == []
    last = {line["kind"]: place for place, line in enumerate(lines)}
    twice, after = set(), set()
    for kind, place in last.items():
        if not _verified(kept, [*lines[: place + 1], *lines[place:]], number):
            twice.add(kind)
        if is_over and not _verified(kept, [*lines, lines[place]], number):
            after.add(kind)
    assert twice == TWICE.keys() & last.keys()
    assert after == ({"ledger_repaired"} & last.keys() if is_over else set())


INVENTED = {
    "paused": {"reason": "the endpoint is down"},
    "cancelled": {},
    "resumed": {"epoch": 2},
    "lesson": {"iteration": 1, "text": "a higher rate helps"},
}
BETWEEN_SESSIONS = {"paused", "cancelled", "resumed", "ledger_repaired", "campaign_started"}


@pytest.mark.slow
@runs_of("local")
@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("kind", INVENTED)
def test_a_session_ends_where_the_next_begins_and_begins_with_a_claim(
    kept: Kept, number: int, kind: str
) -> None:
    """A pause or a cancel may be invented where no session is, or at the end; all else nowhere."""
    lines = ledger_lines(kept.run, number)
    unnoticed = set()
    for place in range(len(lines) + 1):
        near = lines[min(place, len(lines) - 1)]
        invented = {"kind": kind, "time": near["time"], "body": INVENTED[kind]}
        if not _verified(kept, [*lines[:place], invented, *lines[place:]], number):
            unnoticed.add(place)
    may_be = {
        place
        for place in range(len(lines) + 1)
        if {line["kind"] for line in lines[max(place - 1, 0) : place + 1]} & BETWEEN_SESSIONS
        or place == len(lines)
    }
    assert unnoticed <= (may_be if kind in ("paused", "cancelled") else set())


@runs_of("local")
@pytest.mark.parametrize("kind", ["verdict", "proposed", "drafted", "finished", "no_proposal"])
def test_what_follows_from_something_does_not_come_before_it(kept: Kept, kind: str) -> None:
    lines = ledger_lines(kept.run, 0)
    places = [place for place, line in enumerate(lines) if line["kind"] == kind and place > 1]
    for place in places:
        if lines[place - 1]["kind"] == kind:
            continue
        moved = [*lines[: place - 1], lines[place], lines[place - 1], *lines[place + 1 :]]
        assert _verified(kept, moved), f"line {place + 1}: {kind} before {lines[place - 1]['kind']}"
