"""When a controller that waits for jobs may leave that to its successor."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from mlipilot.audit.claims import claim_in_force
from mlipilot.audit.lock import controller_lock
from mlipilot.controller import carrying, loop, steps
from mlipilot.controller.hand_back import HandBack, HandedBackError
from mlipilot.controller.observer import Silent
from mlipilot.errors import PausedError
from mlipilot.jobs.backend import Standing
from mlipilot.paths import JobKey, RunPaths
from tests.jobs.standin_cluster import Cluster
from tests.report.synthetic import SyntheticRun, make_spec

TOLD = {"MLIPILOT_CONTROLLER_JOB": "17_0", "MLIPILOT_HAND_BACK_S": "1800"}
OTHER = "mlp-fedcba9876543210-l0.0000.s9.t.a1"


class Wait:
    """A controller, job 17_0, that waits for job 42, which Slurm has; job 18 is to take over."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1000.0
        monkeypatch.setattr("mlipilot.controller.hand_back.time.monotonic", lambda: self.now_s)
        self.cluster, self.run = Cluster(root), RunPaths(root)
        self.work = self.cluster.submission()
        self.cluster.backend.ensure_started(self.work)
        (self.name,) = self.cluster.requests()
        self.cluster.receive(self.name)
        self.queue("RUNNING|None|n1")
        self.successor = self.run.spool / "successors" / "lineage-0.17_0"
        self.successor.parent.mkdir()
        self.successor.write_text("job_id=18\nname=x\n")
        self.hand_back = HandBack(self.run, 0, TOLD)

    def queue(self, row: str, *others: str, ok: bool = True) -> None:
        self.cluster.queue(f"{self.name}|42|{row}", *others, ok=ok)

    def standings(self) -> list[Standing]:
        return [self.cluster.backend.standing(self.work.attempt)]

    def ends(self, after_s: float = 1800.0) -> bool:
        """Whether the controller ends when it has waited that long."""
        self.now_s += after_s
        try:
            self.hand_back.consider(self.standings)
        except HandedBackError as error:
            assert error.exit_status == 79
            return True
        assert not self.file.exists()
        return False

    @property
    def file(self) -> Path:
        return self.run.spool / "waiting" / "lineage-0"


@pytest.fixture
def wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wait:
    return Wait(tmp_path / "run", monkeypatch)


def test_it_says_for_which_jobs_the_successor_is_to_wait(wait: Wait) -> None:
    assert wait.ends()
    assert wait.file.read_text() == f"42 {wait.name}\n"


def test_a_wait_that_is_not_long_is_waited_out_and_each_begins_anew(wait: Wait) -> None:
    assert not wait.ends(1799)
    wait.hand_back.wait_begins()
    assert not wait.ends(1799) and wait.ends(1)


@pytest.mark.parametrize(
    "told",
    [{}, {"MLIPILOT_HAND_BACK_S": "1800"}, TOLD | {"MLIPILOT_HAND_BACK_S": "0"}, {"SLURM_JOB_ID": "17"}],
)
def test_only_a_controller_whose_batch_script_can_hand_it_on_ends(wait: Wait, told: dict[str, str]) -> None:
    wait.hand_back = HandBack(wait.run, 0, told)
    assert not wait.ends(1e6)


@pytest.mark.parametrize("row", ["PENDING|Priority|", "PENDING|Dependency|", "PENDING|Resources|"])
def test_a_job_that_will_run_by_itself_needs_nobody(wait: Wait, row: str) -> None:
    wait.queue(row)
    assert wait.ends()


@pytest.mark.parametrize(
    "row",
    [
        *("PENDING|JobHeldUser|", "PENDING|BadConstraints|", "REQUEUE_HOLD|launch failed requeued held|"),
        *("COMPLETING|None|n1", "SUSPENDED|None|n1", "COMPLETED|None|n1", "NODE_FAIL|None|n1"),
    ],
)
def test_one_that_needs_somebody_or_is_about_to_end_is_looked_at(wait: Wait, row: str) -> None:
    wait.queue(row)
    assert not wait.ends()


def test_what_slurm_did_not_say_of_this_very_job_does_not_count(wait: Wait) -> None:
    wait.queue("RUNNING|None|n1", ok=False)
    assert not wait.ends()
    wait.cluster.queue(f"{wait.name}|43|RUNNING|None|n1")
    assert not wait.ends(0)
    wait.cluster.queue()
    assert not wait.ends(0)
    wait.queue("RUNNING|None|n1")
    assert wait.ends(0)


def test_a_job_that_is_not_submitted_needs_the_submitter_beside_us(wait: Wait) -> None:
    (wait.run.spool / "receipts" / wait.name).unlink()
    assert not wait.ends()


@pytest.mark.parametrize("name", [OTHER, "mlp-fedcba9876543210-endpoint.a1"])
def test_so_does_whatever_else_of_the_lineage_or_the_run_waits_for_its_submission(
    wait: Wait, name: str
) -> None:
    wait.cluster.backend.spool.request(name, {"template": "x"})
    assert not wait.ends()
    wait.cluster.receive(name, job_id="43")
    assert wait.ends(0)


def test_other_lineages_have_submitters_of_their_own(wait: Wait) -> None:
    wait.cluster.backend.spool.request(OTHER.replace("-l0.", "-l1."), {"template": "x"})
    wait.cluster.backend.spool.request(OTHER.replace("-l0.", "-l01."), {"template": "x"})
    assert wait.ends()


def test_a_job_that_is_to_be_ended_needs_the_submitter_until_it_has(wait: Wait) -> None:
    wait.cluster.backend.spool.request(OTHER, {"template": "x"})
    wait.cluster.receive(OTHER, job_id="43")
    wait.cluster.backend.spool.ask_to_cancel(OTHER)
    wait.queue("RUNNING|None|n1", f"{OTHER}|43|RUNNING|None|n1")
    assert not wait.ends()
    wait.queue("RUNNING|None|n1", f"{OTHER}|43|CANCELLED|None|n1")
    assert wait.ends(0)


@pytest.mark.parametrize("text", [None, "time=1\n"])
def test_nobody_ends_without_a_successor(wait: Wait, text: str | None) -> None:
    """There is none yet, it is in doubt, or it gave way to jobs."""
    wait.successor.unlink()
    if text:
        wait.successor.write_text(text)
    assert not wait.ends()


def test_a_lineage_without_jobs_in_flight_has_work_to_do(wait: Wait) -> None:
    wait.standings = list  # type: ignore[method-assign]
    assert not wait.ends()


def test_where_that_cannot_be_written_down_the_core_is_kept(wait: Wait) -> None:
    (wait.run.spool / "waiting").write_text("a file where a folder is to be")
    assert not wait.ends()


def test_who_hands_back_lets_the_lineage_go_and_leaves_the_model_of_the_run_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Job:
        """What serves the run's model; whoever else asks anything of it fails."""

    def hands_back(*_: object, **__: object) -> None:
        raise HandedBackError("the core is handed back")

    made = SyntheticRun(tmp_path / "run", make_spec(seeds=[1]))
    monkeypatch.setattr(carrying, "endpoint_job", lambda *_: Job())
    monkeypatch.setattr(loop.Controller, "work", hands_back)
    before = made.lineage.ledger.read_text()
    with pytest.raises(HandedBackError):
        carrying.run_lineage(made.run, 0, Silent())
    assert claim_in_force(made.lineage.controller) == (1, None)
    assert made.lineage.ledger.read_text() == before


def test_the_loop_ends_only_while_it_awaits_jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(HandBack, "consider", lambda _, jobs: asked.append(len(list(jobs()))))
    made = SyntheticRun(tmp_path / "run", make_spec(seeds=[1]))
    made.propose(0, None, {})
    made.start(JobKey(0, 1, "train"))
    with controller_lock(made.lineage.root) as hold, ExitStack() as resources:
        controller = loop.Controller(made.run, made.lineage, Silent(), resources, hold)
        monkeypatch.setattr(controller.attempts, "ensure_started", lambda *_: None)
        monkeypatch.setattr(controller.attempts.backend, "wait", lambda _: made.lineage.cancel.touch())
        controller._take(steps.AwaitJobs(), controller.state())
    assert asked == [1]


def test_who_takes_over_a_wait_asks_for_the_model_when_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Job:
        """What serves the run's model."""

        is_requested = False

        def ensure_requested(self, _: str) -> None:
            self.is_requested = True
            asked.append("requested")

        def wait(self, _: object) -> None:
            asked.append("awaited")

    class Colleagues:
        def review(self, *_: object) -> str:
            return "no objection"

    def stop(*_: object) -> None:
        raise PausedError("enough")

    made = SyntheticRun(tmp_path / "run", make_spec(seeds=[1]))
    made.propose(0, None, {})
    made.start(JobKey(0, 1, "train"))
    for name in ("check_image", "prepare_data"):
        monkeypatch.setattr(loop, name, lambda *_: None)
    monkeypatch.setattr(loop.Controller, "_check_protected", lambda _: None)
    with controller_lock(made.lineage.root) as hold, ExitStack() as resources:
        controller = loop.Controller(made.run, made.lineage, Silent(), resources, hold, Job())  # type: ignore[arg-type]
        with monkeypatch.context() as patch, pytest.raises(PausedError):
            patch.setattr(controller, "_take", stop)
            controller.work(0)
        assert asked == []
        controller.colleagues = Colleagues()  # type: ignore[assignment]
        for _ in range(2):
            controller._take(steps.AskReviewer(1, 1), controller.state())
    assert asked == ["requested", "awaited", "awaited"]
