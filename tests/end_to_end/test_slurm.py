"""The same campaign by way of a real Slurm, on the host; the tests in image/ have it in one."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from mlipilot.jobs.job_files import read_result
from mlipilot.paths import RunPaths
from tests.end_to_end.cluster import needs_slurm
from tests.end_to_end.conftest import REPOSITORY, command, mlipilot, with_data, write_campaign
from tests.end_to_end.slurm_runs import WITHOUT_IMAGE, Submitter, state_of, told, weights

pytestmark = pytest.mark.slow


@pytest.mark.sweep
@needs_slurm
@pytest.mark.xdist_group("undisturbed")
def test_slurm_without_an_image_gives_the_ledger_of_local_processes(
    undisturbed: RunPaths, tmp_path: Path
) -> None:
    campaign = write_campaign(tmp_path)
    run = RunPaths(tmp_path / "runs" / "tiny")
    with Submitter(run.root):
        mlipilot("run", campaign, "--set", "jobs.backend=slurm", cwd=tmp_path)
    state = state_of(run)
    assert state.finished == state_of(undisturbed).finished
    assert told(run) == told(undisturbed)
    assert weights(run) == weights(undisturbed)
    attempts = [run.lineage(0).attempt(key, a.number) for key, found in state.jobs.items() for a in found]
    results = [read_result(attempt) for attempt in attempts]
    assert all(result.isolation.backend == "slurm" and result.job_id for result in results)
    assert len({result.job_id for result in results}) == len(results)
    mlipilot("verify", run.root, cwd=tmp_path)


@needs_slurm
def test_cron_may_start_the_submitter_and_one_job_trains_and_evaluates_a_candidate(
    tiny_data: Path, tmp_path: Path
) -> None:
    with_data(tiny_data, tmp_path)
    campaign = write_campaign(tmp_path, seeds=[1, 2], budget={"iterations": 0, "optimizer_steps": 8})
    run = RunPaths(tmp_path / "runs" / "tiny")
    once = ["bash", str(REPOSITORY / "sbatch" / "submitter.sh"), "--once", str(run.root)]
    settings = ["--set", "jobs.backend=slurm", "--set", "jobs.chain=fused", "--set", "jobs.pack=2"]
    controller = subprocess.Popen(
        command(["run", campaign, *settings]), cwd=tmp_path, stdout=subprocess.DEVNULL
    )
    while controller.poll() is None:
        if run.spool.exists():
            done = subprocess.run(once, env=os.environ | WITHOUT_IMAGE, capture_output=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            assert not (run.spool / "submitter.lock").exists()
        time.sleep(1)
    state = state_of(run)
    assert controller.returncode == 0 and state.finished and state.incumbent == 0
    assert all([attempt.number for attempt in found] == [1] for found in state.jobs.values()), state.jobs
    jobs: dict[str, set[str | None]] = {}
    for key in state.jobs:
        jobs.setdefault(key.kind, set()).add(read_result(run.lineage(0).attempt(key, 1)).job_id)
    assert jobs["train"] == jobs["evaluate"] != jobs["sealed"]
    assert [len(numbers) for numbers in jobs.values()] == [1, 1, 1] and len(state.jobs) == 6
    assert len(list((run.spool / "receipts").iterdir())) == 2


@pytest.mark.sweep
@needs_slurm
def test_cancel_ends_the_jobs_of_a_run(tmp_path: Path) -> None:
    budget = {"iterations": 0, "optimizer_steps": 100_000}
    campaign = write_campaign(tmp_path, seeds=[1], budget=budget)
    run = RunPaths(tmp_path / "runs" / "tiny")
    with Submitter(run.root):
        controller = subprocess.Popen(
            command(["run", campaign, "--set", "jobs.backend=slurm"]), cwd=tmp_path, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 120
        while not list(run.root.glob("lineage-0/iterations/0000/seed-1/train/attempt-1/stdout.log")):
            assert time.monotonic() < deadline and controller.poll() is None
            time.sleep(0.5)
        mlipilot("cancel", run.root, cwd=tmp_path)
        controller.wait(timeout=60)
        state = state_of(run)
        assert state.cancelled and not state.in_flight()
        assert [a.outcome for found in state.jobs.values() for a in found] == ["cancelled"]
        names = subprocess.run(
            ["squeue", "-h", "-o", "%j %T"], capture_output=True, text=True, check=True
        ).stdout
        head = next(path.name for path in (run.root / "spool" / "requests").iterdir())[:20]
        assert not [line for line in names.splitlines() if line.startswith(head) and "RUNNING" in line]
