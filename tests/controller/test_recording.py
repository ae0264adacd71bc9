"""A lineage driven by another's record: what led on is followed, what differs or is missing says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mlipilot.audit.events.proposing import Heard
from mlipilot.audit.ledger import of_kind
from mlipilot.audit.lessons import Finding
from mlipilot.controller import steps
from mlipilot.controller.findings import add_finding
from mlipilot.controller.recording import open_recording
from mlipilot.controller.transcript import Transcript
from mlipilot.endpoint.exchange import RequestRefusedError
from mlipilot.errors import InputError, PausedError
from mlipilot.paths import RunPaths
from mlipilot.pilots.pilot_settings import PilotSettings
from mlipilot.pilots.recorded import DivergedError
from tests.controller.desk import PILOT, SUBMIT, edit
from tests.controller.recorder import Recorder
from tests.events import event
from tests.pilots.roles.conftest import calling, saying
from tests.pilots.test_tools import CLAIM
from tests.report.synthetic import SyntheticRun, make_spec

HOT = edit("learning_rate: 0.01", "learning_rate: 0.5")
APPROVE = calling("approve", reason="worth it")
LESSON = calling("write_lesson", lesson="Hot is bad")
TOO_LONG = "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens"
DOWN = PausedError("the endpoint is down")


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    return Recorder(tmp_path / "recorded", monkeypatch)


def again(desk: Recorder, monkeypatch: pytest.MonkeyPatch, **pilot: Any) -> Recorder:
    """A lineage that replays the desk's."""
    root = desk.run.root
    return Recorder(root.with_name("again"), monkeypatch, replay=str(root), **pilot)


def record_of(desk: Recorder) -> PilotSettings:
    return PilotSettings.model_validate(PILOT | {"replay": desk.run.root})


def test_all_roles_do_again_what_they_did(desk: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    objection = calling("send_back", objections="Say why.")
    desk.has(HOT, saying("hm"), SUBMIT, objection, SUBMIT, APPROVE, LESSON).whole_iteration()
    assert [body.get("text") for body in desk.course()][-1] == "Hot is bad"
    replaying = again(desk, monkeypatch)
    replaying.whole_iteration()
    assert replaying.course() == desk.course()
    assert replaying.exchanges() == desk.exchanges()
    assert len(desk.exchanges()) == 7


def test_an_endpoint_that_counts_no_tokens_is_replayed_as_well(
    desk: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.has(HOT, saying("hm"), SUBMIT, APPROVE, LESSON, counts=False).whole_iteration()
    assert all(exchange["estimated"] and exchange["prompt_tokens"] > 500 for exchange in desk.exchanges())
    replaying = again(desk, monkeypatch)
    replaying.whole_iteration()
    assert replaying.exchanges() == desk.exchanges() and replaying.course() == desk.course()


def _say(run: RunPaths, iteration: int, lesson: str) -> None:
    """Lineage 1 of a run shares a lesson."""
    finding = Finding(
        lineage=1, iteration=iteration, pilot="other", title="EMA", verdict="accepted", lesson=lesson,
        verdict_record="a" * 64, time="2026-01-01T00:00:00+00:00",
    )  # fmt: skip
    add_finding(run, finding)


def test_other_lineages_are_heard_as_far_as_they_were(
    desk: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = SyntheticRun(desk.run.root, make_spec(seeds=[1], pilot=PILOT), 1)
    _say(desk.run, 1, "EMA steadies")
    other.propose(1, CLAIM, {"learning_rate: 0.01": "learning_rate: 0.5"})
    desk.has(HOT, SUBMIT, edit("learning_rate: 0.5", "learning_rate: 0.4"), SUBMIT, APPROVE)
    desk.turn()
    sent = json.dumps([exchange["request"] for exchange in desk.exchanges()])
    assert "EMA steadies" in sent and "of lineage 1, no verdict yet" in sent
    _say(desk.run, 2, "EMA is dear")
    other.propose(2, CLAIM, {"learning_rate: 0.01": "learning_rate: 0.4"})
    replaying = again(desk, monkeypatch)
    _say(replaying.run, 1, "what its own lineage 1 says is not heard")
    replaying.turn()
    assert replaying.exchanges() == desk.exchanges() and replaying.course() == desk.course()
    heard = [[told for _, told in of_kind(d.ledger.records, Heard)] for d in (desk, replaying)]
    assert heard[0] == heard[1] and heard[0][0].findings == 1


def test_who_was_alone_hears_nobody(desk: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.has(HOT, SUBMIT).turn()
    assert not [record for record in desk.ledger.records if record.event.kind == "heard"]
    replaying = again(desk, monkeypatch)
    _say(replaying.run, 1, "EMA steadies")
    replaying.turn()
    assert replaying.exchanges() == desk.exchanges()


def test_a_pilot_without_a_language_model_is_replayed_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted: dict[str, Any] = {"kind": "scripted", "model": None, "base_url": None}
    desk = Recorder(tmp_path / "recorded", monkeypatch, **scripted)
    desk.turn()
    desk.proposals.resources.close()
    assert desk.last()[0] == "drafted"
    replaying = again(desk, monkeypatch, **scripted)
    monkeypatch.setattr("mlipilot.controller.proposals.open_pilot", None)
    replaying.turn()
    assert replaying.course() == desk.course() and replaying.exchanges() == desk.exchanges()


def test_what_a_kill_or_a_pause_left_is_not_followed(desk: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.has(edit("learning_rate: 0.01", "learning_rate: 0.3"), DOWN)
    with pytest.raises(PausedError):
        desk.turn()
    line = desk.lineage.transcript.read_text()
    with desk.lineage.transcript.open("a") as stream:
        stream.write(line)  # a kill came before the ledger knew of it
    desk.resumed(HOT, DOWN)
    with pytest.raises(PausedError):
        desk.turn()
    desk.resumed(HOT, SUBMIT, DOWN)
    desk.turn()
    with pytest.raises(PausedError):
        desk.colleagues.review(1, 1, desk.state())
    desk.resumed(APPROVE, LESSON).whole_iteration()
    assert len(desk.exchanges()) == 7
    replaying = again(desk, monkeypatch)
    replaying.whole_iteration()
    assert replaying.course() == desk.course()
    assert [e["role"] for e in replaying.exchanges()] == ["researcher"] * 2 + ["reviewer", "analyst"]


def test_a_replay_that_was_killed_goes_on(desk: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.has(HOT, SUBMIT, APPROVE, LESSON).whole_iteration()
    replaying = again(desk, monkeypatch)
    fences = iter([None] * 5)  # a kill in the middle of the turn: the lock is another's

    def fence() -> None:
        if next(fences, "over") == "over":
            raise KeyboardInterrupt

    replaying.open(fence)
    with pytest.raises(KeyboardInterrupt):
        replaying.turn()
    assert 0 < len(replaying.exchanges()) < 3 and not replaying.course()[1:]
    replaying.open()
    replaying.resumed().whole_iteration()
    assert replaying.course() == desk.course()


def test_what_refusals_taught_is_learnt_again(desk: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(status: int, said: str) -> Exception:
        return RequestRefusedError(f"the endpoint http://there/v1: {said}", status, said)

    no_schema = refused(500, 'response_format type must be one of "text" or "json_object"')
    too_long = refused(400, TOO_LONG)
    desk.has(no_schema, HOT, too_long, too_long, SUBMIT, APPROVE, LESSON)
    desk.whole_iteration()
    modes = [exchange["request"].get("response_format", {}).get("type") for exchange in desk.exchanges()]
    assert modes[0] == "json_object" and any(not exchange["reply"] for exchange in desk.exchanges())
    replaying = again(desk, monkeypatch)
    replaying.whole_iteration()
    assert replaying.exchanges() == desk.exchanges() and replaying.course() == desk.course()


def test_a_conversation_that_never_fitted_ends_as_it_did(
    desk: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    too_long = RequestRefusedError(f"the endpoint http://there/v1: {TOO_LONG}", 400, TOO_LONG)
    desk.has(*[too_long] * 9).turn()
    assert desk.last()[0] == "no_proposal" and TOO_LONG in desk.last()[1]["reason"]
    replaying = again(desk, monkeypatch)
    replaying.turn()
    assert replaying.course() == desk.course()


def test_one_byte_that_differs_stops_it_and_is_shown(desk: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.has(HOT, SUBMIT).turn()
    replaying = again(desk, monkeypatch)
    recipe = replaying.lineage.recipe(0) / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("radial basis functions", "radial basis functiont"))
    with pytest.raises(DivergedError) as error:
        replaying.turn()
    said = str(error.value)
    assert "iteration 1, request 1 of the researcher is not the one on record" in said
    assert "transcript.jsonl:1" in said and "messages[1].content, line " in said
    assert "functiont" in said
    assert "mend:" in said and error.value.exit_status == 2
    assert not replaying.lineage.transcript.exists() and replaying.due() == steps.AskPilot(1)


def test_a_record_that_breaks_off_is_followed_to_its_end(
    desk: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.has(HOT, DOWN)
    with pytest.raises(PausedError):
        desk.turn()
    desk.ledger.append(event("paused", reason="the endpoint is down\x1b[2J"))
    replaying = again(desk, monkeypatch)
    with pytest.raises(DivergedError, match=r"request 2 of the researcher is not on record: the record ends"):
        replaying.turn()
    with pytest.raises(DivergedError) as error:
        replaying.turn(2)
    assert "was not asked then; the record ends there (paused: the endpoint is down)" in str(error.value)


def test_a_budget_that_ended_a_turn_ends_it_again(desk: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    spent = "the budget of 8 s of wall time is used up"
    desk.has(HOT, DOWN)
    with pytest.raises(PausedError):
        desk.turn()
    desk.ledger.append(event("no_proposal", iteration=1, reason=spent))
    replaying = again(desk, monkeypatch)
    replaying.turn()
    assert replaying.last() == ("no_proposal", {"iteration": 1, "reason": spent})


def test_a_damaged_record_is_refused_before_anything_is_done(desk: Recorder) -> None:
    desk.has(HOT, SUBMIT).turn()
    path = desk.lineage.transcript
    whole = path.read_bytes()
    first, second = whole.splitlines(keepends=True)
    pilot = record_of(desk)

    def fault() -> str:
        with pytest.raises(InputError) as error:
            open_recording(pilot, 0)
        return str(error.value)

    path.write_bytes(first + second.replace(b"0.25", b"0.26"))
    assert f"{path}:2: this exchange is not the one that the ledger acknowledged" in fault()
    path.write_bytes(first + second[:-1])
    assert "the transcript has 1 whole lines of the 2 that its ledger knows" in fault()
    path.unlink()
    assert f"{path}: the transcript that was to be replayed is missing" in fault()
    path.write_bytes(whole)
    assert open_recording(pilot, 0) is not None
    with pytest.raises(InputError, match=r"no lineage 3 to be replayed \(there: 0\)"):
        open_recording(pilot, 3)
    ledger = desk.lineage.ledger.read_text()
    desk.lineage.ledger.write_text(ledger.replace("drafted", "draftet"))
    assert "ledger.jsonl" in fault() and "does not match its hash" in fault()
    shutil.rmtree(desk.lineage.root)
    assert "(there: none)" in fault()


@pytest.mark.parametrize(
    ("exchange", "said"),
    [
        ({"reply": {"choices": []}}, "reply: Value error, the answer has no message"),
        ({"reply": {}, "refused": []}, "neither a reply nor a refusal"),
        ({"abilities": {"mode": "\x1b[2Jshout"}}, "abilities.mode: Input should be"),
        ({"more": 1}, "more: Extra inputs are not permitted"),
    ],
)
def test_an_exchange_that_no_version_wrote(desk: Recorder, exchange: dict[str, Any], said: str) -> None:
    desk.has(HOT, DOWN)
    with pytest.raises(PausedError):
        desk.turn()
    forged = json.dumps(desk.exchanges()[0] | exchange)
    with desk.lineage.transcript.open("a") as stream:
        stream.write(forged + "\n")
    desk.open()
    Transcript(desk.lineage, desk.ledger, desk.spec.pilot).recover()
    with pytest.raises(InputError) as error:
        open_recording(record_of(desk), 0)
    assert "transcript.jsonl:2: this exchange cannot be replayed" in str(error.value)
    assert said in str(error.value) and "\x1b" not in str(error.value)
