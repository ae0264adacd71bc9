"""What the report says of a timing that others have run beside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from mlipilot.evaluation.metrics_file import Entry
from mlipilot.report.export import Export
from mlipilot.report.figures import Picture
from mlipilot.report.html import render_html
from mlipilot.report.markdown import render_markdown
from mlipilot.report.page import context
from mlipilot.report.rows import busy_notes
from mlipilot.report.view import IterationView, LineageView

SHARE = "timing_cpu_share"
NAMES = ("progress", "gates", "parity", "training", "dynamics")


def with_shares(view: LineageView, shares: Mapping[tuple[int, int], float | None]) -> LineageView:
    """The view with another share of the CPU for some iterations' seeds; None: an evaluation without it."""

    def changed(one: IterationView) -> IterationView:
        seeds = []
        for seed in one.seeds:
            metrics = dict(seed.metrics)
            if (one.number, seed.seed) in shares and SHARE in metrics:
                value = shares[one.number, seed.seed]
                metrics.pop(SHARE)
                metrics |= {} if value is None else {SHARE: Entry(value=value, status="ok")}
            seeds.append(replace(seed, metrics=metrics))
        return replace(one, seeds=seeds)

    fresh = {number: changed(one) for number, one in view.fresh.items()}
    return replace(view, iterations=[changed(one) for one in view.iterations], fresh=fresh)


def measured(view: LineageView) -> int:
    both = (*view.iterations, *view.fresh.values())
    return sum(SHARE in seed.metrics for one in both for seed in one.seeds)


@pytest.mark.parametrize("name", ["view", "confirmed"])
def test_it_counts_the_evaluations_and_names_the_worst(name: str, request: pytest.FixtureRequest) -> None:
    view = request.getfixturevalue(name)
    many = measured(view)
    seeds = [seed.seed for one in (view.iterations[0], *view.fresh.values()) for seed in one.seeds]
    found = with_shares(view, {(0, seeds[0]): 0.62, (0, seeds[-1]): 0.895})
    (said,) = busy_notes(found)
    assert (
        f"in 2 of {many} evaluations" in said
        and "in the worst for 62 %: throughput and relative cost say" in said
    )
    without = with_shares(view, {(0, seeds[0]): None, (0, seeds[-1]): 0.4})
    assert f"in 1 of {many - 1} evaluations" in busy_notes(without)[0], (
        "who has not measured it is not counted"
    )


def test_of_an_idle_allocation_nothing_is_said(view: LineageView) -> None:
    assert busy_notes(view) == []
    assert busy_notes(with_shares(view, {(0, 1): 0.9})) == []
    assert len(busy_notes(with_shares(view, {(0, 1): 0.899}))) == 1


def test_page_and_text_say_it_beside_the_cost(view: LineageView) -> None:
    pictures = [Picture(name, name, "caption", b"light", b"dark") for name in NAMES]
    busy = context(with_shares(view, {(0, 1): 0.5}), pictures, Export(missing="x"))
    for render in (render_html, render_markdown):
        text = render(busy)
        assert text.index("pauses included") < text.index("Timed on a busy allocation in 1 of")
        assert text.index("Timed on a busy") < text.index("Nothing is exported")
        assert "busy allocation" not in render(context(view, pictures, Export(missing="x")))
