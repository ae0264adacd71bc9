"""A campaign in a real image whose own Slurm job is the allocation in which HyperQueue runs its jobs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlipilot.audit.events.running import JobFinished
from mlipilot.audit.ledger import of_kind, read_ledger
from mlipilot.jobs.job_files import read_result
from tests.end_to_end.cluster import Site
from tests.end_to_end.conftest import mlipilot
from tests.end_to_end.image.conftest import MARKS, SMALL
from tests.end_to_end.slurm_runs import state_of
from tests.end_to_end.test_hyperqueue import environment

pytestmark = MARKS


@pytest.fixture
def site(tiny_data: Path, tmp_path: Path) -> Iterator[Site]:
    budget = {"iterations": 1, "optimizer_steps": 8}
    made = Site(tmp_path / "site", data=tiny_data, seeds=[1], budget=budget, jobs=SMALL)
    yield made
    made.end_all()


def test_the_controllers_own_nodes_run_its_jobs_and_its_successor_goes_on(site: Site) -> None:
    script = site.root / "campaigns" / "tiny.sbatch"
    text = script.read_text()
    for theirs, ours in {"--mem=1G": "--mem=6G", "--cpus-per-task=1": "--cpus-per-task=2"}.items():
        assert theirs in text
        text = text.replace(theirs, ours)
    script.write_text(text)
    path = environment(site.root)["PATH"]
    first = site.sbatch(MLIPILOT_ENGINE="hq", PATH=path)
    training = "lineage-0/iterations/0000/seed-*/train/attempt-1/stdout.log"
    site.wait_until(lambda: list(site.run.root.glob(training)))
    subprocess.run(["scancel", "--batch", "--signal=USR2", f"{first}_0"], check=True)
    site.wait_for_the_end()
    state = state_of(site.run)
    assert state.finished and len(site.logs()) == 2, site.said()
    assert all([attempt.number for attempt in found] == [1] for found in state.jobs.values()), state.jobs
    results = [read_result(site.run.lineage(0).attempt(key, 1)) for key in state.jobs]
    assert all((result.job_id or "").startswith("hq-") for result in results)
    assert all(result.isolation.measured and result.isolation.network == "none" for result in results)
    ends = list(of_kind(read_ledger(site.run.lineage(0).ledger), JobFinished))
    said = " ".join(mlipilot("verify", site.run.root, cwd=site.root).stdout.split())
    assert f"{len(ends)} jobs were HyperQueue's" in said
    jobs = {path.name for path in (site.run.spool / "requests").iterdir()}
    named = subprocess.run(
        ["squeue", "-h", "-t", "all", "-o", "%j"], capture_output=True, text=True, check=True
    )
    assert not jobs & set(named.stdout.split())  # Slurm had none of them
    assert site.left_running() == []
