"""The history: each iteration's verdict with its figures, why in short, and what fresh seeds said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mlipilot.report.history import in_short, iteration_rows
from mlipilot.report.view import IterationView, LineageView, Status


def test_each_iteration_has_its_verdict_gain_and_reason(view: LineageView) -> None:
    rows = iteration_rows(view)
    assert [(row.number, row.status, row.reason) for row in rows] == [
        (0, "accepted", ""),
        (1, "accepted", "lower violation, by more than needed"),
        (2, "accepted", "passes every gate on every seed; the incumbent does not"),
        (3, "reverted", rows[3].reason),
        (4, "invalid", rows[4].reason),
    ]
    assert rows[3].reason.startswith("fails gates that the incumbent passes: ")
    assert rows[4].reason.startswith("training with seed 1: the loss is nan at step 100")
    first = view.iterations[1]
    assert first.gain is not None and first.threshold is not None
    assert rows[1].gain == f"+{first.gain:.1f}" and rows[1].needed == f"needed > {first.threshold:.3f}"
    assert [(row.gain, row.needed) for row in rows if row.number != 1] == [("—", "")] * 4
    assert [row.number for row in rows if row.is_incumbent] == [2]


def test_it_says_which_kept_steps_fresh_seeds_confirmed(confirmed: LineageView) -> None:
    assert [row.standing for row in iteration_rows(confirmed)] == ["", "confirmed", "not confirmed"]
    assert confirmed.confirmed_steps == {1}


@pytest.mark.parametrize(
    ("status", "gain", "said"),
    [
        ("accepted", 0.3, "lower objective, by more than needed"),
        ("reverted", 0.1, "lower objective, by too little to count"),
        ("reverted", 0.0, "no lower objective"),
        ("reverted", -0.3, "no lower objective"),
    ],
)
def test_a_gain_is_told_by_what_its_figures_mean(status: Status, gain: float, said: str) -> None:
    judged = IterationView(3, "x", status, "long figures", gain=gain, threshold=0.2, measure="objective")
    assert in_short(judged) == said


def test_a_long_reason_is_cut(view: LineageView) -> None:
    invalid = replace(view.iterations[4], reason="word " * 100)
    assert len(in_short(invalid)) <= 160 and in_short(invalid).endswith(" …")


def test_a_baseline_that_failed_says_why(view: LineageView) -> None:
    failed = replace(view.iterations[0], status="invalid", reason="training with seed 1: killed")
    assert in_short(failed) == "training with seed 1: killed"
