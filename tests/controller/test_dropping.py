"""A candidate that cannot be dealt with is given up by a person's word, and the lineage goes on."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlipilot.audit.events.running import CandidateDropped, JobFinished
from mlipilot.audit.ledger import of_kind, read_ledger
from mlipilot.audit.lock import controller_lock
from mlipilot.audit.manifest import write_manifest
from mlipilot.cli.app import app
from mlipilot.controller import steps
from mlipilot.controller.dropping import drop_candidate
from mlipilot.controller.job_submission import Attempts
from mlipilot.controller.loop import Controller
from mlipilot.controller.next_steps import next_step
from mlipilot.controller.observer import Silent
from mlipilot.controller.state import State, replay
from mlipilot.controller.verdict import Measurements
from mlipilot.controller.verification import verify_run
from mlipilot.errors import InputError, PausedError
from mlipilot.jobs.ending import silently
from mlipilot.jobs.local_backend import LocalBackend
from mlipilot.paths import CLAIM, JobKey
from tests.events import event
from tests.report.scenarios import SCHEDULE, SCHEDULE_EDITS
from tests.report.synthetic import SyntheticRun, make_spec

KEY = JobKey(1, 1, "train")


@pytest.fixture
def made(tmp_path: Path) -> SyntheticRun:
    """A lineage with a baseline, paused while its first candidate trains."""
    made = SyntheticRun(tmp_path / "cu_emt", make_spec(seeds=[1]))
    made.propose(0, None, {})
    made.candidate(0, 0.0)
    made.propose(1, SCHEDULE, SCHEDULE_EDITS)
    made.start(KEY)
    made.ledger.append(event("paused", reason="its end cannot be seen"))
    return made


def _state(made: SyntheticRun) -> State:
    return replay(read_ledger(made.lineage.ledger))


def _drop(
    made: SyntheticRun, *more: str, number: str = "1", why: str = "it\nhangs \x1b[31m"
) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["drop", str(made.run.root), number, "--why", why, *more])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def test_a_dropped_candidate_is_judged_invalid_with_the_reason_and_the_next_is_asked_for(
    made: SyntheticRun,
) -> None:
    status, said = _drop(made)
    assert status == 0 and said.startswith("dropped; ") and f"resume {made.run.root}" in said
    ended, dropped = read_ledger(made.lineage.ledger)[-2:]
    assert isinstance(ended.event, JobFinished)
    assert (ended.event.outcome, ended.event.key) == ("cancelled", KEY)
    assert dropped.event == CandidateDropped(iteration=1, why="it hangs")
    assert next_step(_state(made), made.spec) == steps.Judge(1)
    with controller_lock(made.lineage.root) as hold, ExitStack() as resources:
        controller = Controller(made.run, made.lineage, Silent(), resources, hold)
        controller.measurements = Measurements(made.lineage, made.spec, made.card)
        controller.ledger.append(controller.session)  # as whoever takes the lineage up again says first
        controller._take(steps.Judge(1), controller.state())
    state = _state(made)
    verdict = state.iterations[1].verdict
    assert verdict is not None
    assert (verdict.verdict, verdict.reason) == ("invalid", "dropped by a person: it hangs")
    assert state.incumbent == 0 and next_step(state, made.spec) == steps.AskPilot(2)
    assert verify_run(made.run).problems == []


def test_a_draft_that_is_dropped_ends_its_iteration_without_a_proposal(tmp_path: Path) -> None:
    made = SyntheticRun(tmp_path / "cu_emt", make_spec(seeds=[1]))
    made.propose(0, None, {})
    made.candidate(0, 0.0)
    made.draft(1, 1, SCHEDULE, SCHEDULE_EDITS)
    _drop(made)
    assert next_step(_state(made), made.spec) == steps.DropDraft(1, "dropped by a person: it hangs")


def test_an_attempt_of_which_nobody_can_tell_is_given_up(made: SyntheticRun) -> None:
    attempt = made.lineage.attempt(KEY, 1)
    (attempt / CLAIM).write_text('{"host": "elsewhere", "pid": 7, "boot_id": "b", "start_ticks": 1}')
    with pytest.raises(PausedError):
        Attempts(made.run, made.lineage, made.spec).collect(State(), KEY, 1)
    ended = _dropped_with(made)
    assert ended.outcome == "cancelled" and ended.manifest_sha256 is None
    assert (ended.reason or "").startswith("given up with its candidate: ")


def test_an_attempt_that_is_sealed_with_a_broken_result_is_no_trouble(made: SyntheticRun) -> None:
    attempt = made.lineage.attempt(KEY, 1)
    (attempt / "result.json").write_text("[]")
    write_manifest(attempt)
    ended = _dropped_with(made)
    assert ended.outcome == "protected_changed" and str(ended.reason).endswith("result.json: not a result")


def _dropped_with(made: SyntheticRun) -> JobFinished:
    _drop(made)
    (ended,) = [
        event for _, event in of_kind(read_ledger(made.lineage.ledger), JobFinished) if event.key == KEY
    ]
    assert next_step(_state(made), made.spec) == steps.Judge(1)
    return ended


def test_a_job_that_goes_on_keeps_its_candidate(made: SyntheticRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalBackend, "cancel", lambda *_, **__: "process 7 may go on")
    before = made.lineage.ledger.read_bytes()
    with pytest.raises(PausedError, match="not dropped: process 7 may go on"):
        drop_candidate(made.run, 0, 1, "x", silently)
    assert made.lineage.ledger.read_bytes() == before


@pytest.mark.parametrize("number", [0, 2])
def test_only_the_candidate_under_way_can_be_dropped(made: SyntheticRun, number: int) -> None:
    with pytest.raises(InputError, match=r"no candidate under way\n  mend: .* that of iteration 1 is"):
        _drop(made, number=str(number))


def test_it_is_dropped_once(made: SyntheticRun) -> None:
    _drop(made)
    with pytest.raises(InputError, match="the candidate of iteration 1 is dropped already"):
        _drop(made)


def test_of_a_lineage_that_is_over_nothing_is_dropped(tmp_path: Path) -> None:
    made = SyntheticRun(tmp_path / "cu_emt", make_spec(seeds=[1]))
    made.propose(0, None, {})
    made.candidate(0, 0.0)
    made.end("a test")
    with pytest.raises(InputError, match=r"no candidate under way\n  mend: .* there is none"):
        _drop(made, number="0")


def test_a_reason_is_wanted(made: SyntheticRun) -> None:
    with pytest.raises(InputError, match="gives no reason"):
        _drop(made, why=" \n")


def test_under_a_controller_nothing_is_dropped(made: SyntheticRun) -> None:
    before = made.lineage.ledger.read_bytes()
    with controller_lock(made.lineage.root), pytest.raises(InputError, match="another controller"):
        _drop(made)
    assert made.lineage.ledger.read_bytes() == before


def test_a_lineage_is_named(made: SyntheticRun) -> None:
    with pytest.raises(InputError, match="lineage 3 has not begun"):
        _drop(made, "--lineage", "3")
