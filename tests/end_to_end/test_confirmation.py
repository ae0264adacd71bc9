"""A campaign whose kept step is tried again with fresh seeds: on local processes, with a kill; by Slurm."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mlipilot.controller.verification import verify_run
from mlipilot.paths import PERMUTED, JobKey, RunPaths
from tests.end_to_end.cluster import needs_slurm
from tests.end_to_end.conftest import command, mlipilot, with_data, write_campaign
from tests.end_to_end.slurm_runs import Submitter, state_of
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
# One seed of the search: what gains at all is kept. Two fresh ones are few, so alpha is wide.
CHANGES: dict[str, Any] = {
    "seeds": [1],
    "budget": {"iterations": 1, "optimizer_steps": 12},
    "confirm": {"seeds": 2, "alpha": 0.8},
}
JOBS: dict[str, Any] = {
    "max_in_flight": 2,
    "smoke": False,
    "train_wall_limit_s": 300,
    "evaluate_wall_limit_s": 300,
}


def _fresh(run: RunPaths) -> list[JobKey]:
    try:
        return [key for key in state_of(run).jobs if key.fresh]
    except FileNotFoundError:
        return []


def _check(run: RunPaths) -> None:
    """Both candidates have had both fresh seeds, each job once, and the record holds."""
    state = state_of(run)
    assert state.finished and state.confirmed is not None
    assert [step.iteration for step in state.confirmed.steps] == [1], "the search kept nothing"
    assert {len(attempts) for attempts in state.jobs.values()} == {1}, "a job ran twice"
    fresh = {(key.kind, key.iteration, key.seed) for key in state.jobs if key.fresh and not key.variant}
    sealed = {0, state.incumbent or 0}
    assert fresh == {
        (kind, number, seed)
        for kind, numbers in (("train", {0, 1}), ("evaluate", {0, 1}), ("sealed", sealed))
        for number in numbers
        for seed in state.confirmed.seeds
    }
    control = {(key.kind, key.iteration, key.seed, key.variant) for key in state.jobs if key.variant}
    first = state.confirmed.seeds[0]
    assert control == {(kind, 1, first, PERMUTED) for kind in ("train", "evaluate")}
    assert verify_run(run).problems == []


@pytest.mark.sweep  # tests/controller/test_confirmation_recorded.py has each point; this has real jobs
def test_killed_in_the_confirmation_it_goes_on_and_trains_nothing_twice(
    tiny_data: Path, tmp_path: Path
) -> None:
    with_data(tiny_data, tmp_path)
    campaign, run = write_campaign(tmp_path, jobs=JOBS, **CHANGES), RunPaths(tmp_path / "runs" / "tiny")
    first = subprocess.Popen(
        command(["run", campaign]), cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: len(_fresh(run)) >= 3, 600)
    finally:
        first.kill()
    assert first.wait() == -signal.SIGKILL
    said = json.loads(mlipilot("status", run.root, "--json", cwd=tmp_path).stdout)
    assert said["confirmed"] is None and said["verdicts"]["accepted"] == 1
    assert "provisional" in mlipilot("status", run.root, cwd=tmp_path).stdout
    mlipilot("resume", run.root, cwd=tmp_path)
    _check(run)
    confirmed = state_of(run).confirmed
    assert confirmed is not None
    said = json.loads(mlipilot("status", run.root, "--json", cwd=tmp_path).stdout)
    assert said["confirmed"]["seeds"] == confirmed.seeds
    models = {model.name for model in run.export.glob("*.model")}
    assert models == {f"tiny-seed{seed}.model" for seed in confirmed.seeds}, "those of the fresh seeds"
    assert "## Confirmation" in run.report_md.read_text()
    options = ("--incumbent", "--seed", str(confirmed.seeds[1]), "--json")
    assert json.loads(mlipilot("reproduce", run.root, *options, cwd=tmp_path).stdout)["reproduced"] is True


@pytest.mark.sweep
@needs_slurm
def test_by_slurm_fresh_seeds_share_jobs_as_others_do(tiny_data: Path, tmp_path: Path) -> None:
    with_data(tiny_data, tmp_path)
    slurm = {"backend": "slurm", "chain": "fused", "pack": 2}
    campaign, run = (
        write_campaign(tmp_path, jobs=JOBS | slurm, **CHANGES),
        RunPaths(tmp_path / "runs" / "tiny"),
    )
    with Submitter(run.root):
        mlipilot("run", campaign, cwd=tmp_path)
    _check(run)
    state = state_of(run)
    jobs = {
        key: {last.ended.job_id for last in attempts if last.ended} for key, attempts in state.jobs.items()
    }
    trained = [key for key in jobs if key.fresh and key.kind == "train"]
    assert all(jobs[key] == jobs[key.beside("evaluate")] for key in trained), "evaluated in the same job"
    assert len({job for key in trained for job in jobs[key]}) < len(trained)
