"""The smoke step: what it finds in an attempt, and a real worker that runs it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlipilot.audit.events.running import JobFinished
from mlipilot.audit.files import write_atomic, write_json
from mlipilot.audit.ledger import GENESIS
from mlipilot.audit.protected import hash_protected
from mlipilot.campaign.spec import dump_spec
from mlipilot.controller.job_submission import Attempts
from mlipilot.controller.prepare import write_modules
from mlipilot.controller.smoke import smoke_fault, smoke_feedback
from mlipilot.controller.state import State
from mlipilot.jobs.job_files import JobOrder
from mlipilot.paths import JobKey, RunPaths
from tests.evaluation.conftest import config_json
from tests.report.synthetic import make_spec
from tests.waiting import wait_for_text

LOSS = '{"event": "progress", "step": 2, "steps_total": 2, "train_loss": 0.5}\n'
HAND_OVER = """
import json, pathlib, sys
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
model = pathlib.Path(given["--output"]) / "model"
model.mkdir()
(model / "config.json").write_text(pathlib.Path("config.txt").read_text())
(model / "weights.safetensors").write_bytes(b"")
print(json.dumps({"event": "start", "seed": given["--seed"], "steps_total": given["--max-steps"]}))
"""
TELL = "print(json.dumps({'event': 'progress', 'step': 2, 'train_loss': 0.5}))\n"
KEY = JobKey(1, 5, "smoke", revision=2)


@pytest.fixture
def attempt(tmp_path: Path) -> Path:
    """A smoke step in which nothing is wrong."""
    model = tmp_path / "output" / "model"
    model.mkdir(parents=True)
    (tmp_path / "stdout.log").write_text('{"event": "start"}\nnoise\n' + LOSS)
    (model / "config.json").write_text(json.dumps(config_json()))
    (model / "weights.safetensors").write_bytes(b"")
    return tmp_path


def test_a_training_that_runs_and_hands_over_is_fine(attempt: Path) -> None:
    assert smoke_fault(attempt) is None


@pytest.mark.parametrize(
    ("log", "says"),
    [
        ("", "told no train_loss"),
        ('{"event": "done"}\n', "told no train_loss"),
        (LOSS + LOSS.replace("0.5", "NaN"), "the loss is not finite: [0.5, nan]"),
        (LOSS.replace("0.5", "Infinity"), "not finite"),
        (LOSS.replace("0.5", '"small"'), "not finite"),
        (LOSS.replace("0.5", "1" * 400), "not finite"),
    ],
)
def test_the_loss_must_be_told_and_finite(attempt: Path, log: str, says: str) -> None:
    (attempt / "stdout.log").write_text(log)
    assert says in (smoke_fault(attempt) or "")


def test_the_hand_over_must_be_the_two_files(attempt: Path) -> None:
    model = attempt / "output" / "model"
    (model / "model.pt").write_bytes(b"")
    assert "may hold a pickle" in (smoke_fault(attempt) or "")
    (model / "model.pt").unlink()
    (model / "config.json").write_text("{}")
    assert "the hand-over would be refused: config.json: 'format' is missing" in (smoke_fault(attempt) or "")
    (model / "weights.safetensors").unlink()
    assert "weights.safetensors is missing" in (smoke_fault(attempt) or "")


def test_what_goes_back_to_the_pilot_is_clean_and_ends_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "stdout.log").symlink_to("/etc/passwd")
    (tmp_path / "stderr.log").write_text("x\n" * 500 + "\x1b]0;title\x07RuntimeError: \u202eno\n")
    text = smoke_feedback(tmp_path, "exit\nstatus 1")
    assert text.endswith("RuntimeError: no\n\nIt failed: exit status 1")
    assert len(text.splitlines()) < 40 and "root" not in text


@pytest.fixture
def attempts(tmp_path: Path) -> Callable[[str], Attempts]:
    """The attempts of a lineage in which revision 2 of iteration 1 has the given train.py."""

    def of(code: str) -> Attempts:
        run = RunPaths(tmp_path / "run")
        spec = make_spec(seeds=[5], jobs={"smoke_wall_limit_s": 20})
        recipe = run.lineage(0).revision(1, 2) / "recipe"
        recipe.mkdir(parents=True)
        (recipe / "train.py").write_text(code)
        (recipe / "config.txt").write_text(json.dumps(config_json()))
        write_atomic(run.spec, dump_spec(spec))
        write_atomic(run.scorecard, "x: 1\n")
        write_modules(run.modules)
        (run.data / "train").mkdir(parents=True)
        write_json(run.protected, hash_protected(run.root))
        return Attempts(run, run.lineage(0), spec)

    return of


def test_it_is_kept_apart_exactly_as_a_training_is(attempts: Callable[[str], Attempts]) -> None:
    made = attempts("pass\n")
    draft, final = made.lineage.recipe_of(KEY), made.lineage.recipe(1)
    shutil.copytree(draft, final)
    train = JobKey(1, 5, "train")
    smoke, training = made.order(KEY, 1, trained=1), made.order(train, 1, trained=1)
    assert (smoke.wall_limit_s, training.wall_limit_s) == (20, 900)
    assert smoke.argv[-1] == "2" and training.argv[-1] == "400"

    def moved(order: JobOrder) -> dict[str, object]:
        text = order.model_copy(update={"argv": order.argv[:-1], "wall_limit_s": 0}).model_dump_json()
        for place, name in ((made.lineage.attempt(KEY, 1), "ATTEMPT"), (draft, "RECIPE")):
            text = text.replace(str(place), name)
        for place, name in ((made.lineage.attempt(train, 1), "ATTEMPT"), (final, "RECIPE")):
            text = text.replace(str(place), name)
        return dict(json.loads(text)) | {"name": ""}

    assert moved(smoke) == moved(training)


def _run(attempts: Attempts) -> JobFinished:
    attempts.ensure_started(State(), [(KEY, 1)], GENESIS)
    deadline = time.monotonic() + 60
    while (ended := attempts.collect(State(), KEY, 1)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return ended


def test_a_worker_runs_two_steps_with_the_first_seed(attempts: Callable[[str], Attempts]) -> None:
    made = attempts(HAND_OVER + TELL)
    ended = _run(made)
    assert ended.outcome == "ok", ended.reason
    assert ended.key == KEY
    first, _ = (made.lineage.attempt(KEY, 1) / "stdout.log").read_text().splitlines()
    assert json.loads(first) == {"event": "start", "seed": "5", "steps_total": "2"}


def test_a_job_that_ends_well_without_a_loss_has_failed(attempts: Callable[[str], Attempts]) -> None:
    ended = _run(attempts(HAND_OVER))
    assert ended.outcome == "failed" and "told no train_loss" in str(ended.reason)


def test_a_smoke_step_in_flight_can_be_cancelled(attempts: Callable[[str], Attempts]) -> None:
    made = attempts("import time\nprint('on', flush=True)\ntime.sleep(60)\n")
    made.ensure_started(State(), [(KEY, 1)], GENESIS)
    place = made.lineage.attempt(KEY, 1)
    wait_for_text(place / "stdout.log")
    made.backend.cancel(place)
    ended = made.collect(State(), KEY, 1)
    assert ended is not None and ended.outcome == "cancelled"
