"""A forger puts true records where they cannot have been written: what was due there says so."""

from __future__ import annotations

from typing import Any

import pytest

from mlipilot.controller.verification import verify_run
from tests.runs.kept import Kept, ledger_lines, runs_of
from tests.runs.test_forgery import forge

TWICE = {
    "paused": "what was met outside of the run",
    "resumed": "where a controller was",
    "ledger_repaired": "what was cut off is gone",
    "endpoint_probed": "a probe is not in the transcript",
    "heard": "who was told at that moment",
}
"""Kinds of records that may come again at once."""


def _verified(kept: Kept, lines: list[dict[str, Any]]) -> list[str]:
    forge(kept.run, 0, [line | {"seq": seq} for seq, line in enumerate(lines)])
    return verify_run(kept.run).problems


@pytest.mark.slow
@runs_of("local")
def test_what_was_done_comes_neither_twice_nor_after_the_end(kept: Kept) -> None:
    lines = ledger_lines(kept.run, 0)
    assert lines[-1]["kind"] == "finished" and _verified(kept, lines) == []
    last = {line["kind"]: place for place, line in enumerate(lines)}
    twice, after = set(), set()
    for kind, place in last.items():
        if not _verified(kept, [*lines[: place + 1], *lines[place:]]):
            twice.add(kind)
        if not _verified(kept, [*lines, lines[place]]):
            after.add(kind)
    assert twice == TWICE.keys() & last.keys()
    assert after == {"ledger_repaired"} & last.keys()


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
