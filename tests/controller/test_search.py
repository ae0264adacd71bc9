"""Search pilots at their place in the loop: what the history tells them, and what is drafted and recorded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlipilot.controller.briefing import Briefing
from mlipilot.controller.verdict import Measurements
from mlipilot.controller.verification import verify_run
from mlipilot.pilots.sampling import Search
from mlipilot.pilots.space import Scalar, values_in
from tests.controller.desk import SUBMIT, Desk, edit, first_task, told
from tests.pilots.roles.conftest import Speaker, calling
from tests.report.synthetic import SyntheticRun, make_spec

SPACE = {
    "loss.energy": {"low": 0.1, "high": 1000, "log": True},
    "ema.decay": {"choices": [0.0, 0.99]},
    "model.hidden_irreps": {"choices": ["4x0e", "16x0e"]},
}
BASELINE = {"loss.energy": 1.0, "ema.decay": 0.0, "model.hidden_irreps": "4x0e"}


def _values(recipe: Path) -> dict[str, Scalar]:
    return values_in((recipe / "recipe.yaml").read_text(), SPACE)


def _search(desk: Desk) -> Search:
    metrics = [term.metric for term in desk.made.card.objective.terms]
    return Search(desk.spec.pilot.kind, desk.spec.space, [1], desk.spec.budget.iterations, metrics)


def _ask(desk: Desk, iteration: int) -> list[dict[str, Any]]:
    """A turn of the pilot; returns the history that it saw."""
    desk.open()
    history = desk.proposals.briefing.history(desk.state())
    desk.proposals.ask(iteration, desk.state())
    return history


def test_tpe_drafts_sees_what_came_of_it_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(tmp_path / "run", monkeypatch, SPACE, kind="tpe", base_url=None)
    history = _ask(desk, 1)
    assert [entry["parameters"] for entry in history] == [BASELINE]
    assert history[0]["score"]["violation"] > 1
    suggested = [_search(desk).suggest(history, attempt) for attempt in (0, 1)]
    assert _values(desk.lineage.revision(1, 1) / "recipe") == suggested[0]
    desk.made.smoke(1, 1, failed="it diverged")
    _ask(desk, 1)
    assert _values(desk.lineage.revision(1, 2) / "recipe") == suggested[1]
    desk.made.smoke(1, 2)
    desk.proposals.accept(1, 2)
    desk.made.candidate(1, 0.97)
    history = _ask(desk, 2)
    assert history[1]["title"] == "TPE, suggestion 1"
    assert history[1]["parameters"] == suggested[1]
    assert history[1]["score"]["violation"] < history[0]["score"]["violation"]
    assert _values(desk.lineage.revision(2, 1) / "recipe") == _search(desk).suggest(history)


def test_a_turn_that_began_in_words_goes_on_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In earlier versions a search asked an endpoint of its own: a kill may have left such an exchange."""
    desk = Desk(tmp_path / "run", monkeypatch, SPACE, kind="random", base_url=None)
    spoken = Speaker(calling("show_history")).complete([{"role": "user", "content": "go"}], [])
    desk.proposals.transcript.record(1, "researcher", spoken)
    history = _ask(desk, 1)
    assert _values(desk.lineage.revision(1, 1) / "recipe") == _search(desk).suggest(history)
    assert [r.event.kind for r in desk.ledger.records if r.event.kind in ("exchange", "drafted")] == [
        "exchange",
        "drafted",
    ]
    assert desk.state().prompt_tokens == 10
    assert [problem for problem in verify_run(desk.run).problems if "incumbent" not in problem] == []


def test_two_searches_of_a_kind_draw_otherwise_on_the_same_seeds(tmp_path: Path) -> None:
    pilots = [{"kind": "random"}, {"kind": "tpe"}, {"kind": "random", "name": "random-2"}]
    spec = make_spec(seeds=[1], pilot=pilots[0], pilots=pilots, space=SPACE)
    searches = []
    for number in range(3):
        made = SyntheticRun(tmp_path / "run", spec, number)
        measured = Measurements(made.lineage, made.spec, made.card)
        found = Briefing(made.run, made.lineage, made.spec, made.card, measured).search()
        assert found is not None and found.seeds == [1]
        searches.append(found)
    first, other, second = searches
    alone = replace(first, twin=0).suggest([])
    assert first.suggest([]) == alone == other.suggest([])  # TPE begins as random search does
    assert second.suggest([]) != alone


def test_an_iteration_whose_drafts_all_failed_is_a_bad_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(tmp_path / "run", monkeypatch, SPACE, kind="random", base_url=None, smoke_retries=0)
    _ask(desk, 1)
    desk.made.smoke(1, 1, failed="it diverged")
    desk.proposals.drop(1, "the smoke step of revision 1 failed: it diverged")
    history = _ask(desk, 2)
    assert history[1]["parameters"] == _values(desk.lineage.revision(1, 1) / "recipe")
    assert [trial.loss < 2000 for trial in _search(desk).trials(history)] == [True, False]


def test_a_hybrids_numbers_are_tpes_and_everybody_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(tmp_path / "run", monkeypatch, SPACE, kind="hybrid")
    tried = edit("ema:\n", "averaging:\n")
    researcher = desk.ask(tried, edit("kind: constant", "kind: cosine"), SUBMIT)
    recipe = desk.lineage.revision(1, 1) / "recipe"
    numbers = _values(recipe)
    assert numbers != BASELINE
    assert f"loss.energy = {numbers['loss.energy']}\n" in first_task(researcher)
    assert "is not yours to edit" in told(researcher)
    patch = (desk.lineage.revision(1, 1) / "patch.diff").read_text()
    assert f"+  energy: {numbers['loss.energy']}" in patch and "+  kind: cosine" in patch
    reviewer = desk.colleague(calling("send_back", objections="cosine is worse"))
    desk.colleagues.review(1, 1, desk.state())
    assert "A numerical search has set these values" in told(reviewer)
    desk.ask(edit("kind: cosine", "kind: one_cycle"), SUBMIT)
    assert _values(desk.lineage.revision(1, 2) / "recipe") == numbers
