"""What a reviewer or an analyst is on record with follows from the replies in the transcript."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mlipilot.audit.events import Event, body_of, read_event
from mlipilot.audit.ledger import Ledger
from mlipilot.campaign.spec import dump_yaml
from mlipilot.controller.recheck import recheck_records
from mlipilot.endpoint.abilities import Abilities
from mlipilot.endpoint.exchange import Exchange
from mlipilot.endpoint.parsing import read_reply
from mlipilot.pilots.history_told import Room
from mlipilot.pilots.recorded import RecordedTurn, Reread
from mlipilot.pilots.roles.reviewer import reread_review
from tests.controller.desk import SUBMIT, Desk, edit
from tests.events import event
from tests.pilots.roles.conftest import calling, saying

HOT = edit("learning_rate: 0.01", "learning_rate: 0.5")
SEND_BACK = calling("send_back", objections="the rate is too high")


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path / "run", monkeypatch)


def _rewritten(desk: Desk, *events: Event) -> list[str]:
    """What is wrong with the lineage once its ledger ends in these in place of its newest record."""
    earlier = [record.event for record in desk.ledger.records[:-1]]
    desk.lineage.ledger.unlink()
    ledger = Ledger(desk.lineage.ledger)
    for each in (*earlier, *events):
        ledger.append(each)
    return recheck_records(desk.run, desk.lineage)


def _said_otherwise(desk: Desk, **fields: Any) -> list[str]:
    last = desk.ledger.records[-1].event
    return _rewritten(desk, read_event(last.kind, body_of(last) | fields))


def _spent(desk: Desk, tokens: int) -> str:
    """Have a budget of the run used up from now on; in words."""
    budget = desk.spec.budget.model_copy(update={"completion_tokens": tokens})
    desk.spec = desk.spec.model_copy(update={"budget": budget})
    desk.run.spec.write_text(dump_yaml(desk.spec.model_dump(mode="json")))
    return f"the budget of {tokens} completion tokens is used up"


@pytest.mark.parametrize(
    ("replies", "approved", "text"),
    [
        ([calling("approve", reason="worth it")], True, "worth it"),
        ([SEND_BACK], False, "the rate is too high"),
        ([saying("Hm."), calling("approve"), SEND_BACK], False, "the rate is too high"),
        ([saying("Hm.")], True, "the reviewer gave no answer that could be understood"),
    ],
)
def test_the_reviewers_word_is_that_of_its_replies(
    desk: Desk, replies: list[dict[str, Any]], approved: bool, text: str
) -> None:
    desk.ask(HOT, SUBMIT)
    desk.colleague(*replies)
    desk.colleagues.review(1, 1, desk.state())
    assert (desk.last()[1]["approved"], desk.last()[1]["text"]) == (approved, text)
    assert recheck_records(desk.run, desk.lineage) == []
    (said,) = _said_otherwise(desk, approved=not approved)
    assert f": reviewed.approved: it says {str(not approved).lower()}, " in said
    (said,) = _said_otherwise(desk, text="another")
    assert ': reviewed.text: it says "another", ' in said


def test_a_change_that_no_reviewer_can_be_shown_is_sent_back_whatever_it_said(desk: Desk) -> None:
    desk.ask(HOT, SUBMIT)
    reviewer = desk.colleague(calling("approve", reason="worth it"))
    reviewer.context_tokens, reviewer.reply_tokens = 120, 30
    reviewer.abilities = Abilities(context_tokens=120)
    desk.colleagues.review(1, 1, desk.state())
    assert "do not fit" in desk.last()[1]["text"] and not desk.last()[1]["approved"]
    assert recheck_records(desk.run, desk.lineage) == []
    assert len(_said_otherwise(desk, approved=True, text="worth it")) == 2


def test_nobody_is_asked_once_a_budget_is_used_up_and_no_sooner(desk: Desk) -> None:
    desk.ask(HOT, SUBMIT)  # five tokens each
    spent = _spent(desk, 10)
    desk.open()
    desk.colleagues.review(1, 1, desk.state())
    assert desk.last()[1]["text"] == f"the reviewer was not asked: {spent}"
    assert recheck_records(desk.run, desk.lineage) == []
    _spent(desk, 11)
    (said,) = recheck_records(desk.run, desk.lineage)
    assert said.endswith("has no reply of the reviewer in iteration 1 that says it")


def test_a_budget_that_ends_between_two_replies_ends_the_review(desk: Desk) -> None:
    desk.ask(HOT, SUBMIT)
    spent = _spent(desk, 15)
    desk.colleague(saying("Hm."))
    desk.colleagues.review(1, 1, desk.state())
    assert desk.last()[1]["text"] == f"the reviewer was not asked: {spent}"
    assert recheck_records(desk.run, desk.lineage) == []


def test_what_a_kill_cut_short_says_nothing_of_the_turn_that_was_taken_again(desk: Desk) -> None:
    desk.ask(HOT, SUBMIT)
    desk.colleague(SEND_BACK)
    desk.colleagues.review(1, 1, desk.state())
    unread = _rewritten(desk, event("resumed"), desk.ledger.records[-1].event)
    (said,) = unread
    assert said.endswith("has no reply of the reviewer in iteration 1 that says it")
    desk.open()
    assert _rewritten(desk, event("resumed")) == []
    desk.colleague(calling("approve", reason="worth it"))
    desk.colleagues.review(1, 1, desk.state())
    assert desk.last()[1]["approved"] is True and recheck_records(desk.run, desk.lineage) == []


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (calling("write_lesson", lesson="a higher rate helps"), "a higher rate helps"),
        (saying("a higher rate helps, I think"), "a higher rate helps, I think"),
        (saying(""), ""),
    ],
)
def test_a_lesson_is_what_the_analyst_replied(desk: Desk, reply: dict[str, Any], text: str) -> None:
    desk.ask(HOT, SUBMIT)
    desk.colleague(calling("approve", reason="worth it"))
    desk.colleagues.review(1, 1, desk.state())
    desk.made.smoke(1, 1)
    desk.proposals.accept(1, 1)
    desk.made.candidate(1, 0.5)
    desk.colleague(reply)
    desk.colleagues.draw_lesson(1, desk.state())
    assert desk.last() == ("lesson", {"iteration": 1, "text": text})
    assert recheck_records(desk.run, desk.lineage) == []
    (said,) = _said_otherwise(desk, text="a lower rate helps")
    assert ': lesson.text: it says "a lower rate helps", computed again' in said


def test_a_lesson_that_nobody_was_asked_for_is_named(desk: Desk) -> None:
    desk.ask(HOT, SUBMIT)
    desk.colleague(calling("approve", reason="worth it"))
    desk.colleagues.review(1, 1, desk.state())
    desk.made.smoke(1, 1)
    desk.proposals.accept(1, 1)
    desk.made.candidate(1, 0.5)
    desk.ledger.append(event("lesson", iteration=1, text="a higher rate helps"))
    (said,) = recheck_records(desk.run, desk.lineage)
    assert said.endswith("has no reply of the analyst in iteration 1 that says it")


def test_a_lesson_of_a_campaign_without_an_analyst_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(tmp_path / "run", monkeypatch, reviewer=False, analyst=False)
    desk.ask(HOT, SUBMIT)
    desk.made.smoke(1, 1)
    desk.proposals.accept(1, 1)
    desk.made.candidate(1, 0.5)
    assert recheck_records(desk.run, desk.lineage) == []
    desk.ledger.append(event("lesson", iteration=1, text="a higher rate helps"))
    (said,) = recheck_records(desk.run, desk.lineage)
    assert said.endswith("the campaign has no analyst")


def test_replies_of_an_endpoint_that_dropped_a_part_of_what_it_was_told_are_not_read() -> None:
    """As the endpoint itself did not read them: it counts the same again, of more than it counted."""
    usage = {"prompt_tokens": 1000, "completion_tokens": 5}
    reply = read_reply({"choices": [{"message": calling("approve", reason="x")}], "usage": usage})
    request = {"messages": [{"role": "user", "content": "x" * 5000}]}
    for counted, is_whole in ((1000, False), (999, True)):
        turn = RecordedTurn(1, "reviewer", Path("t"), ((1, Exchange(request, reply, 0.1)),), counted)
        found = reread_review(Reread(turn, None), "", Room(None, 100))
        assert (found.text == "x") is is_whole
