"""Drafts on disk and in the ledger: submitted, sent back, mended, accepted, and after every kill."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from mlipilot.audit.files import tree_digest
from mlipilot.audit.lock import TakenOverError
from mlipilot.audit.manifest import check_manifest
from mlipilot.controller import steps
from mlipilot.controller.candidates import publish_draft
from mlipilot.controller.verification import verify_run
from mlipilot.endpoint.exchange import Exchange
from mlipilot.endpoint.parsing import Reply
from mlipilot.errors import PausedError
from mlipilot.paths import JobKey
from tests.controller.desk import SUBMIT, Desk, edit, first_task, told
from tests.events import event, named
from tests.pilots.roles.conftest import calling


def problems(desk: Desk) -> list[str]:
    """What `verify` finds, but for the link that the loop sets."""
    return [problem for problem in verify_run(desk.run).problems if "incumbent" not in problem]


HOT = edit("learning_rate: 0.01", "learning_rate: 0.5")


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path / "run", monkeypatch, reviewer=False, analyst=False, smoke_retries=2)


def test_what_is_submitted_is_a_draft_and_no_candidate(desk: Desk) -> None:
    speaker = desk.ask(HOT, SUBMIT)
    kind, body = desk.last()
    draft = desk.lineage.revision(1, 1)
    assert (kind, body["iteration"], body["revision"]) == ("drafted", 1, 1)
    assert tree_digest(draft / "recipe") == body["recipe_digest"] and check_manifest(draft) == []
    assert not desk.lineage.iteration(1).exists() and not desk.lineage.draft.exists()
    assert isinstance(desk.due(), steps.SubmitJob)
    assert "came back" not in first_task(speaker)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("weights.bin", bytes(range(256)), "weights.bin cannot be read as what it is"),
        ("train.py", b"W = [\n" + b"    7,\n" * 99 + b"]\n", "99 values in one statement"),
    ],
)
def test_data_that_come_in_after_the_submission_end_the_iteration(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, name: str, data: bytes, words: str
) -> None:
    """On local processes a training of another candidate can write there."""

    def late(final: Path, draft: Path, *rest: Any) -> dict[str, Any]:
        (draft / name).write_bytes(data)
        return publish_draft(final, draft, *rest)

    monkeypatch.setattr("mlipilot.controller.proposals.publish_draft", late)
    desk.ask(HOT, SUBMIT)
    kind, body = desk.last()
    assert kind == "no_proposal" and words in body["reason"], body
    assert not desk.lineage.revision(1, 1).exists() and not desk.lineage.iteration(1).exists()
    assert problems(desk) == []


def test_a_draft_that_fails_twice_is_mended_by_its_pilot_and_then_tried(desk: Desk) -> None:
    desk.ask(HOT, edit("stress: 0.0 ", "stress: -2.0 "), SUBMIT)
    desk.made.smoke(1, 1, failed="\x1b[31mloss.stress is '-2.0'")
    assert desk.due() == steps.AskPilot(1)
    speaker = desk.ask(edit("stress: -2.0 ", "stress: -1.0 "), SUBMIT)
    task = first_task(speaker)
    assert "Your draft of this iteration came back (revision 1, More weight on forces)." in task
    assert "Its smoke step failed" in task and "UNTRUSTED OUTPUT" in task
    assert "loss.stress is '-2.0'" in task and "\x1b" not in task
    assert "learning_rate: 0.5" in task  # the draft is the one that failed, not the incumbent's recipe
    desk.made.smoke(1, 2, failed="loss.stress is '-1.0'")
    desk.ask(edit("stress: -1.0 ", "stress: 1.0 "), SUBMIT)
    desk.made.smoke(1, 3)
    assert desk.due() == steps.AcceptDraft(1, 3)
    desk.proposals.accept(1, 3)
    recipe = (desk.lineage.recipe(1) / "recipe.yaml").read_text()
    assert "learning_rate: 0.5" in recipe and "stress: 1.0 " in recipe
    diff = (desk.lineage.iteration(1) / "patch.diff").read_text()
    assert diff.count("\n+ ") == diff.count("\n- ") == 2  # against the incumbent, not the draft before
    assert desk.last()[1]["recipe_digest"] == tree_digest(desk.lineage.recipe(1))
    assert isinstance(desk.due(), steps.SubmitJob)
    assert problems(desk) == []


def test_a_draft_that_goes_on_failing_ends_the_iteration_and_stays_in_the_history(desk: Desk) -> None:
    rates = ["0.01", "0.5", "0.25", "0.35"]
    for revision in (1, 2, 3):
        old, new = rates[revision - 1 : revision + 1]
        desk.ask(edit(f"learning_rate: {old}", f"learning_rate: {new}"), SUBMIT)
        desk.made.smoke(1, revision, failed="it diverged")
    step = desk.due()
    assert isinstance(step, steps.DropDraft)
    desk.proposals.drop(step.iteration, step.reason)
    assert desk.due() == steps.AskPilot(2)
    speaker = desk.ask(calling("show_history"), calling("give_up", reason="enough"), iteration=2)
    told_as = (
        "1 | More weight on forces | learning_rate: 0.35 | invalid | the smoke step of revision 3 failed"
    )
    assert told_as in first_task(speaker)
    assert "learning_rate: 0.35" in told(speaker)
    assert desk.last()[0] == "gave_up"


def test_the_very_draft_that_failed_is_refused_and_a_mend_of_one_letter_is_not(desk: Desk) -> None:
    desk.ask(edit("steps: 600 ", "steps: 600.0 "), HOT, SUBMIT)
    desk.made.smoke(1, 1, failed="budget.steps is '600.0' but must be a positive integer")
    speaker = desk.ask(SUBMIT, edit("steps: 600.0 ", "steps: 601 "), SUBMIT)
    assert "error: this recipe was tried: revision 1 of iteration 1, its smoke step failed" in told(speaker)
    assert desk.last()[1]["revision"] == 2
    desk.made.smoke(1, 2, failed="once more")
    desk.ask(edit("steps: 601 ", "steps: 600 "), SUBMIT)
    assert desk.last()[1]["revision"] == 3


def test_giving_up_withdraws_a_draft_that_came_back_and_ends_the_lineage_otherwise(desk: Desk) -> None:
    desk.ask(HOT, SUBMIT)
    desk.made.smoke(1, 1, failed="no")
    desk.ask(calling("give_up", reason="it cannot be mended"))
    assert desk.last() == (
        "no_proposal",
        {"iteration": 1, "reason": "revision 1 was withdrawn: it cannot be mended"},
    )
    assert desk.due() == steps.AskPilot(2)
    desk.ask(calling("give_up", reason="nothing is left"), iteration=2)
    assert desk.last()[0] == "gave_up" and isinstance(desk.due(), steps.SubmitJob)  # of the sealed check


def test_a_kill_between_publishing_and_recording_a_draft_or_a_candidate(desk: Desk) -> None:
    leftover = desk.lineage.revision(1, 1) / "recipe"
    leftover.mkdir(parents=True)
    (leftover / "half.txt").write_text("of a turn that was killed")
    shutil.copytree(leftover, desk.lineage.revision(1, 1).with_name(".0001-1.staging"))
    desk.ask(HOT, SUBMIT)
    assert not (leftover / "half.txt").exists()
    desk.made.smoke(1, 1)
    shutil.copytree(desk.lineage.revision(1, 1), desk.lineage.iteration(1))
    desk.open()
    assert desk.due() == steps.AcceptDraft(1, 1)
    desk.proposals.accept(1, 1)
    assert not (desk.lineage.iteration(1) / "smoke").exists()
    assert problems(desk) == []


def test_a_kill_leaves_nothing_behind_when_the_pilot_thinks_better_of_it(desk: Desk) -> None:
    shutil.copytree(desk.run.recipe, desk.lineage.revision(1, 1) / "recipe")
    desk.ask(calling("give_up", reason="enough"))
    assert not desk.lineage.revision(1, 1).exists()
    shutil.copytree(desk.run.recipe, desk.lineage.iteration(2) / "recipe")
    desk.proposals.drop(2, "the budget is used up")
    assert not desk.lineage.iteration(2).exists()


def test_a_draft_that_was_changed_on_disk_is_not_made_a_candidate(desk: Desk) -> None:
    desk.ask(HOT, SUBMIT)
    desk.made.smoke(1, 1)
    (desk.lineage.revision(1, 1) / "recipe" / "train.py").write_text("print('another')\n")
    with pytest.raises(PausedError, match=r"0001-1/recipe is not as it was recorded"):
        desk.proposals.accept(1, 1)


def test_a_stale_controller_leaves_transcript_and_drafts_alone(desk: Desk) -> None:
    def taken_over() -> None:
        raise TakenOverError("another controller took over")

    desk.ask(HOT, SUBMIT)
    theirs = desk.lineage.iteration(1)
    theirs.mkdir()
    before = desk.lineage.transcript.read_bytes()
    desk.open(taken_over)
    exchange = Exchange(request={}, reply=Reply(), duration_s=1)
    with pytest.raises(TakenOverError):
        desk.proposals.transcript.record(1, "researcher", exchange)
    with pytest.raises(TakenOverError):
        desk.proposals.accept(1, 1)
    assert desk.lineage.transcript.read_bytes() == before and theirs.is_dir()


@pytest.mark.parametrize(
    "name",
    ["recipe/train.py", "patch.diff", "hypothesis.yaml", "manifest-sha256.txt", "smoke/attempt-1/stdout.log"],
)
def test_a_changed_byte_in_a_draft_or_its_smoke_step_is_found(desk: Desk, name: str) -> None:
    desk.ask(HOT, SUBMIT)
    desk.made.smoke(1, 1, failed="no")
    assert problems(desk) == []
    path = desk.lineage.revision(1, 1) / name
    path.write_bytes(path.read_bytes()[:-2] + b"x\n")
    assert any(str(path) in problem for problem in problems(desk))


def test_a_lost_smoke_step_leaves_files_that_nothing_vouches_for_and_that_is_said(desk: Desk) -> None:
    desk.ask(HOT, SUBMIT)
    key = JobKey(1, 1, "smoke", 1)
    (desk.made.start(key) / "job.json").write_text("{}")
    nothing = {"cpu_s": 0.0, "gpu_s": 0.0, "wall_s": 0.0}
    desk.ledger.append(event("job_finished", named(key) | nothing, outcome="lost", reason="gone"))
    desk.ledger.append(event("candidate_dropped", iteration=1, why="for the test"))
    desk.proposals.drop(1, "for the test")
    desk.made.end("for the test")
    assert problems(desk) == []
    assert any("0001-1/smoke/attempt-1: lost without a seal" in note for note in verify_run(desk.run).notes)
    (desk.lineage.revision(1, 1) / "extra.txt").write_text("x")
    assert any("extra.txt: no record speaks of this file" in problem for problem in problems(desk))


def test_a_budget_of_tokens_ends_a_turn_before_the_next_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(tmp_path / "run", monkeypatch)
    desk.spec = desk.spec.model_copy(
        update={"budget": desk.spec.budget.model_copy(update={"completion_tokens": 6})}
    )
    speaker = desk.ask(HOT, SUBMIT)  # five tokens each, as the endpoint counts them
    assert desk.last()[0] == "drafted" and len(speaker.heard) == 2
    desk.ledger.append(event("no_proposal", iteration=1, reason="for the test"))
    speaker = desk.ask(HOT, SUBMIT, iteration=2)
    assert not speaker.heard
    assert desk.last() == (
        "no_proposal",
        {"iteration": 2, "reason": "the budget of 6 completion tokens is used up"},
    )
