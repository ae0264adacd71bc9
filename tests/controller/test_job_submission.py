"""What was queued ahead of the ledger, for a candidate that is judged without it, is ended and removed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from mlipilot.controller.job_submission import Attempts, _refusal
from mlipilot.controller.state import State, replay
from mlipilot.errors import PausedError
from mlipilot.jobs.backend import Phase, Standing
from mlipilot.paths import JobKey
from tests.events import SHA
from tests.report.synthetic import SyntheticRun, make_spec


class Queue:
    """A stand-in for a backend whose jobs are over once they were cancelled, unless `after` says other."""

    poll_s = 0.0

    def __init__(self, after: Phase = "ended") -> None:
        self.after: Phase = after
        self.cancelled: list[Path] = []

    def cancel(self, attempt: Path) -> None:
        self.cancelled.append(attempt)

    def standing(self, attempt: Path) -> Standing:
        return Standing(self.after if attempt in self.cancelled else "waiting")


@pytest.fixture
def made(tmp_path: Path) -> SyntheticRun:
    """The first seed's training failed; the evaluation of the second was queued behind its training."""
    made = SyntheticRun(tmp_path / "run", make_spec(seeds=[1, 2]))
    made.propose(0, None, {})
    made.train(0, 1, 0.1, failed="the loss is nan")
    made.train(0, 2, 0.1)
    ahead = made.lineage.attempt(JobKey(0, 2, "evaluate"), 1)
    ahead.mkdir(parents=True)
    (ahead / "slurm.json").write_text("{}")
    return made


EVALUATIONS = [JobKey(0, seed, "evaluate") for seed in (1, 2)]


def _attempts(made: SyntheticRun, backend: Queue, monkeypatch: pytest.MonkeyPatch) -> Attempts:
    attempts = Attempts(made.run, made.lineage, made.spec)
    monkeypatch.setattr(attempts, "backend", backend)
    return attempts


def test_it_is_cancelled_and_leaves_nothing(made: SyntheticRun, monkeypatch: pytest.MonkeyPatch) -> None:
    backend, ahead = Queue(), made.lineage.attempt(JobKey(0, 2, "evaluate"), 1)
    attempts = _attempts(made, backend, monkeypatch)
    attempts.withdraw_unrecorded(replay(made.ledger.records), EVALUATIONS)
    assert backend.cancelled == [ahead] and not ahead.exists()
    assert made.lineage.attempt(JobKey(0, 2, "train"), 1).exists()
    attempts.withdraw_unrecorded(replay(made.ledger.records), EVALUATIONS)
    assert len(backend.cancelled) == 1


def test_a_job_that_does_not_end_pauses_before_anything_is_sealed(
    made: SyntheticRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = _attempts(made, Queue(after="running"), monkeypatch)
    with pytest.raises(PausedError, match="does not end"):
        attempts.withdraw_unrecorded(replay(made.ledger.records), EVALUATIONS)
    assert made.lineage.attempt(JobKey(0, 2, "evaluate"), 1).exists()


class Sealed(Queue):
    """Jobs whose numbers the submitter does not tell, as somebody deleted what it had said."""

    def standing(self, attempt: Path) -> Standing:
        return Standing("sealed", job_name="mlp-x")


def test_a_sealed_attempt_names_its_job_where_the_submitter_does_not(
    made: SyntheticRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = _attempts(made, Sealed(), monkeypatch)
    result = {
        "outcome": "ok",
        "reason": None,
        "cpu_s": 1.0,
        "gpu_s": 0.0,
        "wall_s": 1.0,
        "manifest_sha256": SHA,
    }
    monkeypatch.setattr("mlipilot.controller.job_submission.how_it_ended", lambda *_: result)
    monkeypatch.setattr("mlipilot.controller.job_submission.check_manifest", lambda _: [])
    monkeypatch.setattr(
        "mlipilot.controller.job_submission.result_if_any", lambda _: SimpleNamespace(job_id="19")
    )
    ended = attempts.collect(State(), JobKey(0, 2, "train"), 1)
    assert ended is not None and (ended.job_id, ended.job_name) == ("19", "mlp-x")


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (None, None),
        ("{", None),
        ("[]", None),
        ('{"refused": 1}', None),
        ('{"metrics": {}}', None),
        ('{"refused": "NaN in\\nthe weights"}', "the hand-over was refused: NaN in the weights"),
    ],
)
def test_whatever_a_training_leaves_in_the_evaluators_place_is_no_traceback(
    written: str | None, told: str | None, tmp_path: Path
) -> None:
    (tmp_path / "output").mkdir()
    if written is not None:
        (tmp_path / "output" / "metrics.json").write_text(written)
    assert _refusal(tmp_path) == told


def test_a_candidates_training_is_told_its_limit_of_machine_time(tmp_path: Path) -> None:
    made = SyntheticRun(tmp_path / "run", make_spec(seeds=[1, 2]))
    made.propose(0, None, {})
    made.candidate(0, 0.1)
    made.propose(1, None, {"learning_rate: 0.01": "learning_rate: 0.02"})
    attempts, state = Attempts(made.run, made.lineage, made.spec), replay(made.ledger.records)
    baseline = [state.last(JobKey(0, seed, "train")) for seed in (1, 2)]
    taken_s = [last.ended.cpu_s for last in baseline if last and last.ended and last.ended.cpu_s]
    assert attempts.due_order(state, JobKey(1, 1, "train"), 1).machine_limit_s == 2 * sum(taken_s) > 0
    made.train(1, 1, 0.2)
    state = replay(made.ledger.records)
    assert attempts.due_order(state, JobKey(1, 1, "evaluate"), 1).machine_limit_s is None
    assert attempts.due_order(state, JobKey(0, 2, "train"), 2).machine_limit_s is None
