"""A campaign whose jobs HyperQueue runs within an allocation of a real Slurm."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from pathlib import Path

import pytest

from mlipilot.audit.events.running import JobFinished
from mlipilot.audit.ledger import of_kind, read_ledger
from mlipilot.paths import RunPaths
from tests.end_to_end.cluster import needs_slurm
from tests.end_to_end.conftest import REPOSITORY, command, mlipilot, with_data, write_campaign
from tests.end_to_end.own_cluster import OwnCluster, needs_daemons
from tests.end_to_end.slurm_runs import WITHOUT_IMAGE, state_of
from tests.sbatch.conftest import ATTEMPT, BATCH_SCRIPT, job_name, make_run, read_fields
from tests.sbatch.hq import install_standin, with_hq
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


def environment(root: Path) -> dict[str, str]:
    """That of an allocation; `hq` is a stand-in where the machine has none."""
    told = os.environ | WITHOUT_IMAGE
    if not shutil.which("hq"):
        (root / "bin").mkdir()
        install_standin(root / "bin")
        told |= {"PATH": f"{root / 'bin'}:{os.environ['PATH']}"}
    return told


@needs_daemons
@pytest.mark.xdist_group("own_cluster")
def test_every_node_of_an_exclusive_allocation_runs_jobs(cluster: OwnCluster, tmp_path: Path) -> None:
    (scripts := tmp_path / "scripts").mkdir()
    (scripts / "train.sbatch").write_text(BATCH_SCRIPT)
    run = make_run(tmp_path / "run", MLIPILOT_SBATCH_DIR=str(scripts), **cluster.environment)
    with_hq(run)
    pair = [ATTEMPT, ATTEMPT.replace("seed-11", "seed-12")]
    names = [job_name(number, secrets.token_hex(8)) for number in range(2)]
    for name, attempt, other in zip(names, pair, reversed(pair), strict=True):
        (run.attempt(attempt) / "todo.sh").write_text(
            f"until [ -e '{run.path / other}/begun' ]; do sleep 0.1; done"
        )
        run.request(name, attempt=attempt, cpus="8")
    words = ["--parsable", "--nodes=2", "--exclusive", "--mem=0", "--time=60"]
    script = REPOSITORY / "sbatch" / "hyperqueue.sbatch"
    done = subprocess.run(
        ["sbatch", *words, f"--output={tmp_path}/log", script, run.path],
        cwd=REPOSITORY, env=run.env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    try:
        wait_until(lambda: [run.state(name) for name in names] == ["COMPLETED"] * 2, 120)
    finally:
        cluster.says("scancel", done.stdout.strip())
    nodes = {read_fields(run.path / attempt / "environment")["SLURMD_NODENAME"] for attempt in pair}
    assert len(nodes) == 2


@needs_slurm
def test_a_run_goes_on_in_the_next_allocation_and_loses_no_attempt(tiny_data: Path, tmp_path: Path) -> None:
    with_data(tiny_data, tmp_path)
    campaign = write_campaign(tmp_path, seeds=[1], budget={"iterations": 0, "optimizer_steps": 30})
    run = RunPaths(tmp_path / "runs" / "tiny")
    told = environment(tmp_path)

    def allocate() -> str:
        words = ["--parsable", "--cpus-per-task=2", "--mem=12G", "--time=60", f"--output={tmp_path}/%j.log"]
        script = REPOSITORY / "sbatch" / "hyperqueue.sbatch"
        done = subprocess.run(
            ["sbatch", *words, script, run.root],
            cwd=REPOSITORY,
            env=told,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    allocations = [allocate()]
    controller = subprocess.Popen(
        command(["run", campaign, "--set", "jobs.backend=slurm"]), cwd=tmp_path, stdout=subprocess.DEVNULL
    )
    try:
        training = run.root / "lineage-0/iterations/0000/seed-1/train/attempt-1"
        wait_until(lambda: (training / "stdout.log").exists(), 120)
        subprocess.run(["scancel", *allocations], check=True)
        allocations.append(allocate())
        assert controller.wait(timeout=400) == 0
    finally:
        controller.kill()
        subprocess.run(["scancel", *allocations], check=True)
    state = state_of(run)
    assert state.finished and state.incumbent == 0
    assert all([attempt.number for attempt in found] == [1] for found in state.jobs.values()), state.jobs
    ids = [str(ended.job_id) for _, ended in of_kind(read_ledger(run.lineage(0).ledger), JobFinished)]
    assert ids[0] == f"hq-{allocations[0]}-1" and len(set(ids)) == len(ids)
    assert all(job_id.startswith("hq-") for job_id in ids)
    said = mlipilot("verify", run.root, cwd=tmp_path).stdout
    assert f"{len(ids)} jobs were HyperQueue's, within the Slurm jobs {allocations[0]}" in " ".join(
        said.split()
    )
