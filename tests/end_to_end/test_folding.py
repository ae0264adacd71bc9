"""A campaign whose requests are folded as soon as their jobs are over, on a real Slurm."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mlipilot.audit.settled import SettledRequests
from mlipilot.jobs.job_files import read_result
from mlipilot.jobs.spool import Spool
from mlipilot.paths import RunPaths
from tests.end_to_end.cluster import needs_slurm
from tests.end_to_end.conftest import command, mlipilot, with_data, write_campaign
from tests.end_to_end.slurm_runs import Submitter, state_of
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


@needs_slurm
def test_a_run_that_is_folded_under_way_goes_on_and_reads_as_any_other(
    tiny_data: Path, tmp_path: Path
) -> None:
    with_data(tiny_data, tmp_path)
    campaign = write_campaign(tmp_path, seeds=[1], budget={"iterations": 0, "optimizer_steps": 4})
    run = RunPaths(tmp_path / "runs" / "tiny")
    settled, spool = SettledRequests(run.spool), Spool(run.spool)
    with Submitter(run.root, MLIPILOT_FOLD_S="1"):
        start = command(["run", campaign, "--set", "jobs.backend=slurm"])
        controller = subprocess.Popen(start, cwd=tmp_path, stdout=subprocess.DEVNULL)
        try:
            wait_until(lambda: len(settled.names()) >= 1 or controller.poll() is not None, 300)
        finally:
            controller.kill()
            assert controller.wait() < 0, "it was killed, and had not ended by itself"
        mlipilot("status", run.root, cwd=tmp_path)
        mlipilot("resume", run.root, cwd=tmp_path)
        wait_until(lambda: not any((run.spool / "requests").iterdir()))
    state = state_of(run)
    assert state.finished
    assert all([attempt.outcome for attempt in found] == ["ok"] for found in state.jobs.values())
    results = [read_result(run.lineage(0).attempt(key, 1)) for key in state.jobs]
    known = {row.job_id for row in spool.queue().rows.values()}
    assert known == {result.job_id for result in results} and len(known) == len(results)
    assert settled.names() == set(spool.requests_of(0)) and len(settled.names()) == len(results)
    for verb in ("status", "verify", "report"):
        mlipilot(verb, run.root, cwd=tmp_path)
    mlipilot("show", run.root, "0", cwd=tmp_path)
