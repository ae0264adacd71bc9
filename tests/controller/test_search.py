"""A search pilot is asked like any other: what the history tells it, and what is published and recorded."""

from __future__ import annotations

import json
from contextlib import ExitStack, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mlipilot.controller.briefing import Briefing
from mlipilot.controller.proposals import Proposals
from mlipilot.controller.state import State, replay
from mlipilot.controller.transcript import Transcript
from mlipilot.controller.verdict import Measurements
from mlipilot.pilots.outcomes import Outcome, Proposal, TurnInput
from mlipilot.pilots.sampling import Search
from mlipilot.pilots.space import values_in
from mlipilot.pilots.textbook import load_moves
from tests.report.synthetic import SyntheticRun, make_spec

SPACE = {
    "loss.energy": {"low": 0.1, "high": 1000, "log": True},
    "ema.decay": {"choices": [0.0, 0.99]},
    "model.hidden_irreps": {"choices": ["4x0e", "16x0e"]},
}


def _run(root: Path, kind: str) -> SyntheticRun:
    """A baseline that fails gates, a candidate that diverged, and a turn without a proposal."""
    pilot = {"kind": kind} | ({"model": "m", "context_tokens": 8192} if kind == "hybrid" else {})
    made = SyntheticRun(root, make_spec(pilot=pilot, space=SPACE, seeds=[1]))
    made.propose(0, None, {})
    made.candidate(0, 0.0)
    claim = load_moves()[0].model_dump(mode="json", exclude={"edits"})
    made.propose(1, claim, {"energy: 1.0 ": "energy: 500.0 ", "ema:\n  decay: 0.0": "ema:\n  decay: 0.5"})
    made.train(1, 1, 0.1, failed="the loss is nan")
    made.judge(1)
    made.ledger.append("no_proposal", {"iteration": 2, "reason": "nothing came"})
    return made


def _ask(made: SyntheticRun) -> State:
    """One turn of the pilot for the third iteration."""
    measured = Measurements(made.lineage, made.spec, made.card)
    briefing = Briefing(made.run, made.lineage, made.spec, made.card, measured)
    transcript = Transcript(made.lineage, made.ledger, made.spec.pilot)
    with ExitStack() as resources:
        proposals = Proposals(made.run, made.lineage, made.spec, made.ledger, briefing, transcript, resources)
        proposals.ask(3, replay(made.ledger.records))
    return replay(made.ledger.records)


def test_tpe_sees_the_values_and_the_score_of_every_iteration(tmp_path: Path) -> None:
    made = _run(tmp_path / "run", "tpe")
    state = _ask(made)
    lines = [json.loads(line) for line in made.lineage.transcript.read_text().splitlines()]
    shown = next(m["content"] for m in lines[-1]["request"]["messages"] if m["role"] == "tool")
    baseline, diverged, nothing = json.loads(shown)
    assert baseline["parameters"] == {"loss.energy": 1.0, "ema.decay": 0.0, "model.hidden_irreps": "4x0e"}
    assert baseline["score"]["violation"] > 1 and baseline["score"]["log_objective"] is not None
    assert (diverged["parameters"]["ema.decay"], diverged["score"]["violation"]) == (0.5, None)
    assert (nothing["parameters"], nothing["verdict"]) == ({}, "invalid")
    assert state.iterations[3].drafts[0].title == "TPE, suggestion 3"
    assert state.exchanges >= 4
    recipe = made.lineage.revision(3, 1) / "recipe" / "recipe.yaml"
    history = json.loads(shown)
    metrics = [term.metric for term in made.card.objective.terms]
    suggested = Search("tpe", made.spec.space, [1], 4, metrics).suggest(history)
    assert values_in(recipe.read_text(), SPACE) == suggested


def test_a_hybrids_numbers_are_tpes_and_stand_in_the_patch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = _run(tmp_path / "run", "hybrid")
    turns: list[TurnInput] = []

    def take(_endpoint: Any, turn: TurnInput, _record: Any) -> Outcome:
        turns.append(turn)
        hypothesis = load_moves()[0]
        return Proposal(hypothesis.model_validate(hypothesis.model_dump()))

    monkeypatch.setattr("mlipilot.controller.proposals.take_turn", take)
    endpoint = SimpleNamespace(context_tokens=8192, reply_tokens=1024)
    monkeypatch.setattr("mlipilot.controller.proposals.open_pilot", lambda *_: nullcontext(endpoint))
    _ask(made)
    patch = (made.lineage.revision(3, 1) / "patch.diff").read_text()
    assert turns[0].held.keys() == SPACE.keys()
    assert turns[0].context_tokens == 8192
    assert f"+  energy: {turns[0].held['loss.energy']}" in patch
