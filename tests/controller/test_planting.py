"""What a candidate leaves where only the controller puts something voids it; what a kill leaves does not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mlipilot.audit.events.running import JobFinished, JobSubmitted
from mlipilot.audit.files import sha256_file, write_atomic, write_json
from mlipilot.audit.ledger import Ledger, of_kind, read_ledger
from mlipilot.audit.lock import controller_lock
from mlipilot.audit.manifest import write_manifest
from mlipilot.controller import next_steps, steps
from mlipilot.controller.loop import Controller
from mlipilot.controller.observer import Silent
from mlipilot.controller.recheck import recheck_records
from mlipilot.controller.state import replay
from mlipilot.controller.verdict import Measurements
from mlipilot.errors import PausedError
from mlipilot.jobs.attempt_claims import claim_here
from mlipilot.jobs.job_files import JobOrder
from mlipilot.paths import JobKey
from tests.report.synthetic import SyntheticRun, make_spec

TRAIN, EVALUATE, SEALED = (JobKey(0, 1, kind) for kind in ("train", "evaluate", "sealed"))


@pytest.fixture
def made(tmp_path: Path) -> SyntheticRun:
    """A lineage whose baseline is trained with its first seed."""
    made = SyntheticRun(tmp_path / "run", make_spec(seeds=[1, 2]))
    made.propose(0, None, {})
    made.train(0, 1, 0.0)
    return made


@pytest.fixture
def controller(made: SyntheticRun) -> Iterator[Controller]:
    with controller_lock(made.lineage.root) as hold, ExitStack() as resources:
        controller = Controller(made.run, made.lineage, Silent(), resources, hold)
        controller.measurements = Measurements(made.lineage, made.spec, made.card)
        made.ledger = controller.ledger
        yield controller


def _last(controller: Controller) -> JobFinished:
    event = controller.ledger.records[-1].event
    assert isinstance(event, JobFinished), event
    return event


def _whole(attempt: Path) -> None:
    shutil.copytree(attempt.parents[1] / "train" / "attempt-1", attempt)


def _put(path: Path, text: str = "{}") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _link(path: Path, to: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(to)


PLANTS: dict[str, Callable[[Path], object]] = {
    "whole": _whole,
    "its order": lambda attempt: _put(attempt / "job.json"),
    "a folder": lambda attempt: attempt.mkdir(parents=True),
    "a folder of attempts": lambda attempt: attempt.parent.mkdir(),
    "a link": lambda attempt: _link(attempt.parent, "/tmp"),
    "a link to nothing": lambda attempt: _link(attempt.parent, "nowhere"),
    "a file": lambda attempt: _put(attempt.parent),
}


@pytest.mark.parametrize("how", PLANTS)
def test_what_lies_there_before_an_attempt_is_on_record_makes_the_candidate_invalid(
    made: SyntheticRun, controller: Controller, how: str
) -> None:
    attempt = made.lineage.attempt(EVALUATE, 1)
    PLANTS[how](attempt)
    controller._take(steps.SubmitJob(EVALUATE, 1), controller.state())
    ended = _last(controller)
    assert (ended.outcome, ended.manifest_sha256) == ("protected_changed", None)
    assert ended.reason == "there before its time, and removed: iterations/0000/seed-1/evaluate"
    assert not os.path.lexists(attempt.parent)
    state = controller.state()
    assert next_steps.next_step(state, made.spec) == steps.Judge(0)
    controller._take(steps.Judge(0), state)
    verdict = controller.state().iterations[0].verdict
    assert verdict is not None and verdict.verdict == "invalid"
    assert verdict.reason == f"evaluation with seed 1: {ended.reason}"
    assert recheck_records(made.run, made.lineage) == []


def test_of_a_training_the_folder_of_its_seed_and_of_a_second_attempt_its_own_are_looked_at(
    made: SyntheticRun, controller: Controller
) -> None:
    other = JobKey(0, 2, "train")
    (made.lineage.job(other).parent / "evaluate").mkdir(parents=True)
    controller._take(steps.SubmitJob(other, 1), controller.state())
    assert str(_last(controller).reason).endswith("removed: iterations/0000/seed-2")
    made.lineage.attempt(TRAIN, 2).mkdir()
    controller._take(steps.SubmitJob(TRAIN, 2), controller.state())
    assert str(_last(controller).reason).endswith("removed: iterations/0000/seed-1/train/attempt-2")
    assert made.lineage.attempt(TRAIN, 1).exists()


def test_a_sealed_check_that_was_planted_is_tried_again(made: SyntheticRun, controller: Controller) -> None:
    made.lineage.attempt(SEALED, 1).mkdir(parents=True)
    controller._take(steps.SubmitJob(SEALED, 1), controller.state())
    assert (_last(controller).outcome, _last(controller).free) == ("lost", False)
    assert not made.lineage.job(SEALED).exists()


def test_what_cannot_be_removed_pauses_the_run(
    made: SyntheticRun, controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.lineage.attempt(EVALUATE, 1).mkdir(parents=True)
    monkeypatch.setattr("mlipilot.controller.planting.remove", lambda *_: None)
    with pytest.raises(PausedError, match=r"0000/seed-1/evaluate is in the way of job 0000/seed-1/evaluate"):
        controller._take(steps.SubmitJob(EVALUATE, 1), controller.state())


LATER = {
    "another attempt": "iterations/0000/seed-2/evaluate/attempt-2",
    "of another seed": "iterations/0000/seed-7/train/attempt-1",
    "of the next iteration": "iterations/0001",
    "of the sealed check": "sealed-check",
}


@pytest.mark.parametrize("where", LATER.values(), ids=LATER)
def test_what_is_left_for_later_makes_the_candidate_invalid_as_it_is_judged(
    made: SyntheticRun, controller: Controller, where: str
) -> None:
    made.evaluate(0, 1, 0.0)
    made.train(0, 2, 0.0)
    made.evaluate(0, 2, 0.0)
    planted = made.lineage.root / where
    planted.mkdir(parents=True)
    (planted / "job.json").write_text("{}")
    controller._take(steps.Judge(0), controller.state())
    assert not planted.exists()
    assert _last(controller).reason == f"there before its time, and removed: {where}"
    assert next_steps.next_step(controller.state(), made.spec) == steps.Judge(0)
    controller._take(steps.Judge(0), controller.state())
    verdict = controller.state().iterations[0].verdict
    assert verdict is not None and verdict.verdict == "invalid" and where in verdict.reason
    assert recheck_records(made.run, made.lineage) == []


def test_a_candidate_that_is_invalid_anyhow_is_judged_at_once(
    made: SyntheticRun, controller: Controller
) -> None:
    made.train(0, 2, 0.0, failed="the loss is nan")
    planted = made.lineage.attempt(EVALUATE, 1)
    planted.mkdir(parents=True)
    controller._take(steps.Judge(0), controller.state())
    verdict = controller.state().iterations[0].verdict
    assert verdict is not None and verdict.reason == "training with seed 2: the loss is nan"
    assert not planted.exists()


@pytest.fixture
def submitted(made: SyntheticRun, controller: Controller) -> Path:
    """An evaluation that is on record; a kill came, and nothing of it is there."""
    controller._take(steps.SubmitJob(EVALUATE, 1), controller.state())
    event = controller.ledger.records[-1].event
    assert isinstance(event, JobSubmitted) and event.order_sha256 is not None
    return made.lineage.attempt(EVALUATE, 1)


def _order(controller: Controller) -> JobOrder:
    return controller.attempts.due_order(controller.state(), EVALUATE, 1)


def test_the_record_has_the_digest_of_the_file_that_a_worker_reads(
    controller: Controller, submitted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: None)
    controller.attempts.ensure_started(controller.state(), [(EVALUATE, 1)], "0" * 64)
    (event,) = [e for _, e in of_kind(controller.ledger.records, JobSubmitted) if e.order_sha256]
    assert sha256_file(submitted / "job.json") == event.order_sha256
    before = (submitted / "job.json").read_bytes()
    write_json(submitted / "job.json", _order(controller).model_dump())
    assert (submitted / "job.json").read_bytes() == before, "as it always was on disk"


def _ordered(attempt: Path, order: JobOrder) -> None:
    attempt.mkdir(parents=True)
    write_atomic(attempt / "job.json", order.text)


def _claimed(attempt: Path, order: JobOrder) -> None:
    _ordered(attempt, order)
    assert claim_here(attempt)


KILLS: dict[str, Callable[[Path, JobOrder], object]] = {
    "before anything": lambda attempt, _: None,
    "before the order": lambda attempt, _: attempt.mkdir(parents=True),
    "as it is written": lambda attempt, _: _put(attempt / ".job.json.0123abcd"),
    "before a worker": _ordered,
    "after the claim": _claimed,
}


@pytest.mark.parametrize("kill", KILLS)
def test_what_a_kill_leaves_is_no_plant(controller: Controller, submitted: Path, kill: str) -> None:
    KILLS[kill](submitted, _order(controller))
    assert controller.planting.not_to_begin(controller.state()) == []


@pytest.mark.parametrize("kill", ["before anything", "before the order", "as it is written"])
def test_after_a_kill_an_order_that_would_be_another_is_not_carried_out(
    controller: Controller, submitted: Path, kill: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    KILLS[kill](submitted, _order(controller))
    monkeypatch.setenv("LC_ALL", "another.than.before")
    (ended,) = controller.planting.not_to_begin(controller.state())
    assert (ended.outcome, ended.free) == ("lost", True)
    assert ended.reason == "it had not begun, and its order would be another one now"
    controller.ledger.append(ended)
    assert controller.spec and next_steps.next_step(controller.state(), controller.spec) == steps.SubmitJob(
        EVALUATE, 2
    )
    assert recheck_records(controller.run, controller.lineage) == []


def test_an_order_that_was_given_elsewhere_is_not_carried_out(
    made: SyntheticRun, controller: Controller, submitted: Path, tmp_path: Path
) -> None:
    """The run was moved before its attempt began: what it was told names files of the other place."""
    KILLS["before a worker"](submitted, _order(controller))
    moved = tmp_path / "moved"
    shutil.copytree(made.run.root, moved)
    run = type(made.run)(moved)
    with ExitStack() as resources:
        (run.lineage(0).controller / "x").parent.mkdir(exist_ok=True)
        shutil.rmtree(run.lineage(0).controller)
        hold = resources.enter_context(controller_lock(run.lineage(0).root))
        again = Controller(run, run.lineage(0), Silent(), resources, hold)
        (ended,) = again.planting.not_to_begin(again.state())
    assert (ended.outcome, ended.free) == ("lost", True)
    assert ended.reason == "it had not begun where the run was before"


def test_an_old_record_without_a_digest_is_held_to_none(controller: Controller, made: SyntheticRun) -> None:
    made.ledger.append(JobSubmitted.of(EVALUATE, 1))
    attempt = made.lineage.attempt(EVALUATE, 1)
    attempt.mkdir(parents=True)
    (attempt / "job.json").write_text("{}")
    assert controller.planting.not_to_begin(controller.state()) == []
    assert "order_sha256" not in made.lineage.ledger.read_text().splitlines()[-1]


AFTER: dict[str, tuple[Callable[[Path], object], str]] = {
    "another order": (lambda attempt: _put(attempt / "job.json"), "was not the order that is on record"),
    "a result": (lambda attempt: _put(attempt / "result.json"), "before it began: result.json"),
    "a link": (lambda attempt: _link(attempt, "/tmp"), "before it began: attempt-1"),
    "a file": (_put, "before it began: attempt-1"),
}


@pytest.mark.parametrize("how", AFTER)
def test_what_is_planted_between_the_record_and_the_start_voids_the_candidate(
    controller: Controller, submitted: Path, how: str
) -> None:
    plant, said = AFTER[how]
    plant(submitted)
    (ended,) = controller.planting.not_to_begin(controller.state())
    assert ended.outcome == "protected_changed" and str(ended.reason).endswith(said)
    assert not os.path.lexists(submitted)
    controller.ledger.append(ended)
    assert next_steps.next_step(controller.state(), controller.spec) == steps.Judge(0)
    assert recheck_records(controller.run, controller.lineage) == []


def test_an_attempt_that_ran_by_another_order_voids_the_candidate_and_verify_knows_why(
    made: SyntheticRun, controller: Controller, submitted: Path
) -> None:
    KILLS["after the claim"](submitted, _order(controller).model_copy(update={"argv": ["true"]}))
    said = {"exit_status": 0, "reason": None, "wall_s": 1.0, "cpu_s": 1.0, "gpu_s": 0.0, "outcome": "ok"}
    write_json(
        submitted / "result.json",
        said
        | {
            "peak_memory_mib": None,
            "changed": [],
            "isolation": {},
            "machine": {"processor": "x"},
            "host": "h",
        },
    )
    write_manifest(submitted)
    ended = controller.attempts.collect(controller.state(), EVALUATE, 1)
    assert ended is not None and ended.outcome == "protected_changed"
    assert str(ended.reason).endswith("job.json: not the order that is on record")
    controller.ledger.append(ended)
    assert recheck_records(made.run, made.lineage) == []
    forged = Ledger(made.run.root / "forged.jsonl")
    for record in read_ledger(made.lineage.ledger)[:-1]:
        forged.append(record.event)
    forged.append(ended.model_copy(update={"outcome": "ok", "reason": None}))
    shutil.copyfile(forged.path, made.lineage.ledger)
    assert any(".outcome: it says" in said for said in recheck_records(made.run, made.lineage))
    assert replay(read_ledger(made.lineage.ledger)).in_flight() == []


@pytest.mark.parametrize("text", ["nothing of the kind", "{}", "\xff"])
def test_a_sealed_attempt_without_a_result_voids_the_candidate_and_verify_knows_why(
    made: SyntheticRun, controller: Controller, submitted: Path, text: str
) -> None:
    KILLS["after the claim"](submitted, _order(controller))
    (submitted / "result.json").write_text(text, encoding="latin-1")
    write_manifest(submitted)
    ended = controller.attempts.collect(controller.state(), EVALUATE, 1)
    assert ended is not None and ended.outcome == "protected_changed"
    assert str(ended.reason).endswith("result.json: not a result")
    controller.ledger.append(ended)
    assert recheck_records(made.run, made.lineage) == []
