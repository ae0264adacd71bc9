"""`mlipilot unlock`: a person's word where nothing else can tell, and never against what can be seen."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from mlipilot.audit.claims import Job, claim_in_force
from mlipilot.audit.lock import TakenOverError, controller_lock
from mlipilot.cli.app import app
from mlipilot.cli.unlock import unlock
from mlipilot.errors import InputError
from tests.claims import OTHER_HOST, leave_claim
from tests.conftest import StandIn


@pytest.fixture
def run(tmp_path: Path) -> Path:
    root = tmp_path / "run"
    (root / "lineage-1" / "controller").mkdir(parents=True)
    (root / "campaign.lock.yaml").touch()
    return root


def _rewrite_claim(run: Path, **changes: Any) -> None:
    path = run / "lineage-1" / "controller" / "000001.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _unlock(run: Path, *options: str) -> str:
    done = CliRunner().invoke(app, ["unlock", str(run), "--lineage", "1", *options])
    if done.exception is not None:
        raise done.exception
    return done.stdout


def test_the_holder_is_shown_and_the_epoch_raised(run: Path) -> None:
    claim = leave_claim(run / "lineage-1", **OTHER_HOST)
    said = _unlock(run, "--yes")
    assert claim.words in said and "(epoch 1)" in said and f"resume {run} --lineage 1" in said
    assert claim_in_force(run / "lineage-1" / "controller") == (2, None)
    assert "nobody holds lineage 1" in _unlock(run)
    with controller_lock(run / "lineage-1") as hold:
        assert hold.epoch == 3


def test_without_a_terminal_it_takes_a_word(run: Path) -> None:
    claim = leave_claim(run / "lineage-1", **OTHER_HOST)
    with pytest.raises(InputError, match="--yes"):
        _unlock(run)
    assert claim_in_force(run / "lineage-1" / "controller") == (1, claim)


@pytest.mark.parametrize(("answer", "epoch"), [("y\n", 2), ("n\n", 1), ("\n", 1)])
def test_a_terminal_is_asked(run: Path, monkeypatch: pytest.MonkeyPatch, answer: str, epoch: int) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    leave_claim(run / "lineage-1", **OTHER_HOST)
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    if epoch == 1:
        with pytest.raises(typer.Abort):
            unlock(run, 1, False)
    else:
        unlock(run, 1, False)
    assert claim_in_force(run / "lineage-1" / "controller")[0] == epoch


def test_who_runs_here_is_not_unlocked(run: Path) -> None:
    with controller_lock(run / "lineage-1") as hold:
        with pytest.raises(InputError, match=f"alive .process {os.getpid()} on"):
            _unlock(run, "--yes")
        hold.check()


def test_a_container_on_this_host_that_holds_the_lock_is_not_unlocked(run: Path) -> None:
    with controller_lock(run / "lineage-1"):
        _rewrite_claim(run, pid_namespace=1)
        with pytest.raises(InputError, match="it holds the lock"):
            _unlock(run, "--yes")


@pytest.mark.parametrize(("squeue", "unlocked"), [("echo RUNNING", False), ("true", True), ("exit 1", True)])
def test_a_job_that_slurm_lists_is_not_unlocked(
    run: Path, stand_in: StandIn, squeue: str, unlocked: bool
) -> None:
    stand_in("scontrol", "echo 'ClusterName = alps'")
    stand_in("squeue", squeue)
    leave_claim(run / "lineage-1", **OTHER_HOST, job=Job(id="17_0"))
    if unlocked:
        assert "Slurm job 17_0," in _unlock(run, "--yes")
    else:
        with pytest.raises(InputError, match=r"(?s)job 17_0 is RUNNING.*scancel 17_0"):
            _unlock(run, "--yes")
    assert claim_in_force(run / "lineage-1" / "controller")[0] == (2 if unlocked else 1)


def test_a_controller_that_was_unlocked_in_error_is_fenced(run: Path) -> None:
    with controller_lock(run / "lineage-1") as hold:
        _rewrite_claim(run, host="node7")
        (run / "lineage-1" / "controller" / "lock").unlink()  # as where an flock does not reach
        _unlock(run, "--yes")
        with pytest.raises(TakenOverError):
            hold.check()
