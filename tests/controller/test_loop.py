"""What a controller refuses before it takes a step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mlipilot.audit.events.running import Resumed
from mlipilot.audit.ledger import Ledger, read_ledger
from mlipilot.audit.lock import controller_lock
from mlipilot.campaign.spec import load_campaign
from mlipilot.cli.console import ConsoleObserver
from mlipilot.controller import steps
from mlipilot.controller.carrying import cancel_idle_lineage, run_lineage
from mlipilot.controller.loop import CancelledError, Controller
from mlipilot.controller.observer import Silent
from mlipilot.controller.prepare import create_run
from mlipilot.controller.verdict import Measurements
from mlipilot.controller.verification import verify_run
from mlipilot.errors import InputError
from mlipilot.paths import RunPaths
from tests.events import event
from tests.report.scenarios import SCHEDULE, SCHEDULE_EDITS
from tests.report.synthetic import SyntheticRun, make_spec

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    """A run that has begun to be one, and nothing more."""
    run = RunPaths(tmp_path / "run")
    create_run(load_campaign(REPOSITORY / "campaigns" / "cu_emt.yaml"), run)
    return run


def test_a_start_that_nobody_asked_for_leaves_a_cancelled_lineage_alone(run: RunPaths) -> None:
    run.lineage(1).root.mkdir()
    Ledger(run.lineage(1).ledger).append(event("cancelled"))
    run.lineage(1).cancel.touch()  # a kill came between the record and the end of the request
    with pytest.raises(CancelledError, match=r"lineage 1 was cancelled; .*--lineage 1"):
        run_lineage(run, 1, ConsoleObserver(), unattended=True)
    assert [record.event.kind for record in read_ledger(run.lineage(1).ledger)] == ["cancelled"]
    assert not run.lineage(1).cancel.exists() and not run.data.exists()


@pytest.mark.parametrize("inside", [None, "b" * 64])
def test_outside_its_image_a_run_does_not_go_on(
    run: RunPaths, monkeypatch: pytest.MonkeyPatch, inside: str | None
) -> None:
    run.image_digest.write_text("a" * 64 + "\n")
    if inside:
        monkeypatch.setenv("MLIPILOT_IMAGE_SHA256", inside)
    with pytest.raises(InputError, match="goes on inside its image"):
        run_lineage(run, 0, ConsoleObserver())
    assert not run.lineage(0).ledger.exists() and not run.data.exists()


def test_a_lineage_without_a_record_is_not_begun(run: RunPaths, tmp_path: Path) -> None:
    campaign = load_campaign(
        REPOSITORY / "campaigns" / "cu_emt.yaml", None, [f"pilot.replay={run.root}", "pilot.kind=openai"]
    )
    again = RunPaths(tmp_path / "again")
    create_run(campaign, again)
    with pytest.raises(InputError, match=r"there is no lineage 0 to be replayed \(there: none\)"):
        run_lineage(again, 0, ConsoleObserver())
    assert not again.lineage(0).ledger.exists() and not again.data.exists()


@pytest.fixture
def made(tmp_path: Path) -> SyntheticRun:
    """A lineage whose baseline is measured."""
    made = SyntheticRun(tmp_path / "cu_emt", make_spec(seeds=[1]))
    made.propose(0, None, {})
    made.train(0, 1, 0.0)
    made.evaluate(0, 1, 0.0)
    return made


@pytest.fixture
def controller(made: SyntheticRun) -> Iterator[Controller]:
    with controller_lock(made.lineage.root) as hold, ExitStack() as resources:
        controller = Controller(made.run, made.lineage, Silent(), resources, hold)
        controller.measurements = Measurements(made.lineage, made.spec, made.card)
        yield controller


@pytest.mark.parametrize("cluster", [None, "alpha"])
def test_each_session_says_where_it_is(
    made: SyntheticRun, monkeypatch: pytest.MonkeyPatch, cluster: str | None
) -> None:
    for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "MLIPILOT_CONTROLLER_JOB", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    if cluster:
        monkeypatch.setenv("SLURM_JOB_ID", "7")
        monkeypatch.setenv("SLURM_CLUSTER_NAME", cluster)
    with controller_lock(made.lineage.root) as hold, ExitStack() as resources:
        said = Controller(made.run, made.lineage, Silent(), resources, hold).session
    assert said == event("resumed", epoch=1, cluster=cluster, run=str(made.run.root))


def test_a_late_workers_claim_is_not_sealed_with_an_iteration(
    made: SyntheticRun, controller: Controller
) -> None:
    claim = made.lineage.iteration(0) / "seed-1" / "train" / ".worker.json.abcdefgh"
    claim.write_text("{}")
    controller._take(steps.Judge(0), controller.state())
    assert not claim.exists()
    made.ledger = controller.ledger
    made.end("a test")
    claim.write_text("{}")  # and one that is staged now
    assert verify_run(made.run).problems == []


@pytest.mark.parametrize("unattended", [False, True])
def test_a_session_says_whether_nobody_asked_for_it(
    made: SyntheticRun, controller: Controller, monkeypatch: pytest.MonkeyPatch, unattended: bool
) -> None:
    monkeypatch.setattr("mlipilot.controller.loop.prepare_data", lambda *_: None)  # they are there
    made.lineage.cancel.touch()  # so that no step is taken
    with pytest.raises(CancelledError):
        controller.work(0, unattended=unattended)
    (session,) = [r.event for r in controller.ledger.records if isinstance(r.event, Resumed)]
    assert session.unattended is unattended


def test_the_end_of_a_lineage_clears_away_what_its_last_turn_left(
    made: SyntheticRun, controller: Controller
) -> None:
    controller._take(steps.Judge(0), controller.state())
    made.ledger = controller.ledger
    made.draft(1, 1, SCHEDULE, SCHEDULE_EDITS)
    made.ledger.append(event("candidate_dropped", iteration=1, why="a test"))
    made.ledger.append(event("no_proposal", iteration=1, reason="it was withdrawn"))
    drafts = made.lineage.root / "drafts"
    for name in ("draft", ".draft.staging", "drafts/0002-1", "drafts/.0002-2.staging"):
        (made.lineage.root / name / "recipe").mkdir(parents=True)
        (made.lineage.root / name / "recipe" / "train.py").write_text("pass")
    made.ledger.append(event("gave_up", iteration=2, reason="a test"))
    made.sealed_check()
    controller._take(steps.Finish("the pilot gave up: a test"), controller.state())
    assert [path.name for path in drafts.iterdir()] == ["0001-1"]
    assert not made.lineage.draft.exists() and verify_run(made.run).problems == []


def test_a_lineage_that_is_over_is_not_cancelled(made: SyntheticRun) -> None:
    made.ledger.append(event("finished"))
    made.lineage.cancel.touch()
    cancel_idle_lineage(made.run, 0, Silent())
    assert not made.lineage.cancel.exists()
    assert read_ledger(made.lineage.ledger)[-1].event.kind == "finished"
