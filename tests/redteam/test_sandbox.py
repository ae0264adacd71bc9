"""Every attack on local processes in sandboxes."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlipilot.jobs.job_files import read_result
from mlipilot.jobs.sandbox import why_no_sandbox
from mlipilot.paths import RunPaths
from tests.end_to_end.conftest import mlipilot, with_data, write_campaign
from tests.end_to_end.slurm_runs import state_of
from tests.end_to_end.villain import PILOT
from tests.redteam.attacks import ATTACKS
from tests.redteam.campaign import KEY, attacking, check_verdicts

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(why_no_sandbox() is not None, reason=str(why_no_sandbox())),
]


def test_each_ends_invalid_with_its_reason_and_harms_nothing(tiny_data: Path, tmp_path: Path) -> None:
    with_data(tiny_data, tmp_path)
    budget = {"iterations": len(ATTACKS), "optimizer_steps": 3}
    limits = {"train_wall_limit_s": 30, "evaluate_wall_limit_s": 300, "resources": {"memory_mib": 1500}}
    campaign = write_campaign(tmp_path, pilot=PILOT, seeds=[1], budget=budget, jobs=limits | {"smoke": False})
    with attacking(ATTACKS) as url:
        told = mlipilot("run", campaign, cwd=tmp_path, OPENAI_BASE_URL=url, OPENAI_API_KEY=KEY)
    assert "jobs run in sandboxes of bubblewrap" in told.stdout + told.stderr
    run = RunPaths(tmp_path / "runs" / "tiny")
    check_verdicts(run, ATTACKS)
    for key in state_of(run).jobs:
        isolation = read_result(run.lineage(0).attempt(key, 1)).isolation
        assert (isolation.filesystem, isolation.network) == ("sandbox", "none")
        assert isolation.measured and isolation.leaks == []
    assert "warning" not in mlipilot("status", run.root, cwd=tmp_path).stdout
