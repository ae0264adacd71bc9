"""Why jobs of a real Slurm do not run, from squeue's word to what a person reads."""

from __future__ import annotations

import json
import secrets
import subprocess
import time

import pytest

from mlipilot.errors import PausedError
from mlipilot.jobs.inflight import InFlight, read_in_flight
from mlipilot.jobs.job_settings import JobSettings
from mlipilot.jobs.slurm_backend import SlurmBackend
from mlipilot.report.jobs import in_flight_lines
from tests.sbatch.conftest import ATTEMPT, Run, job_name
from tests.waiting import wait_until

pytestmark = pytest.mark.cluster


@pytest.fixture
def cluster_run(cluster_run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """With a job of a name that the cluster has not had."""
    monkeypatch.setitem(globals(), "NAME", job_name(1, secrets.token_hex(8)))
    return cluster_run


NAME = ""


def served(run: Run, *options: str) -> tuple[SlurmBackend, InFlight]:
    """A request that the submitter has seen in the queue, with the site's further words for sbatch."""
    run.request(NAME)
    (run.path / ATTEMPT / "slurm.json").write_text(json.dumps({"name": NAME, "needs": None}))
    run.serve(MLIPILOT_SBATCH_EXTRA=" ".join(options))
    wait_until(lambda: run.state(NAME) not in ("", "UNSUBMITTED"), 60)
    backend = SlurmBackend(run.path, run.spool, JobSettings(backend="slurm", patience_s=20))
    return backend, stands(run, backend)


def stands(run: Run, backend: SlurmBackend) -> InFlight:
    return read_in_flight(backend.spool, run.path / ATTEMPT, "0001/seed-11/train", 1, backend.spool.queue())


def paused(run: Run, backend: SlurmBackend) -> str:
    """What pauses the run, within half a minute."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        try:
            backend.standing(run.path / ATTEMPT)
        except PausedError as error:
            return str(error)
        time.sleep(0.5)
    raise AssertionError("nothing paused the run")


def test_a_held_job_is_no_running_one_and_pauses_the_run_with_the_mend(cluster_run: Run) -> None:
    backend, job = served(cluster_run, "--hold")
    number = cluster_run.receipt(NAME)["job_id"]
    held, mend = in_flight_lines([job])
    assert held.startswith(f"held: 0001/seed-11/train (job {number}, JobHeldUser")
    assert f"`scontrol release {number}`" in mend
    said = paused(cluster_run, backend)
    assert "JobHeldUser" in said and f"`scontrol release {number}` lets it run, then resume" in said
    assert subprocess.run(["scontrol", "release", number], check=False).returncode == 0
    wait_until(lambda: cluster_run.state(NAME) in ("RUNNING", "COMPLETED"), 60)


def test_a_requeued_and_held_job_is_held(cluster_run: Run) -> None:
    cluster_run.attempt()
    (cluster_run.path / ATTEMPT / "todo.sh").write_text("sleep 60\n")
    backend, _ = served(cluster_run)
    wait_until(lambda: cluster_run.state(NAME) == "RUNNING", 60)
    subprocess.run(["scontrol", "requeuehold", cluster_run.receipt(NAME)["job_id"]], check=True)
    wait_until(lambda: stands(cluster_run, backend).phase == "held", 60)
    assert "lets it run" in stands(cluster_run, backend).mend


def test_a_job_for_later_is_waited_for(cluster_run: Run) -> None:
    backend, job = served(cluster_run, "--begin=now+1hour")
    assert (job.phase, job.reason) == ("pending", "BeginTime")
    time.sleep(5)
    assert backend.standing(cluster_run.path / ATTEMPT).phase == "waiting"


def test_a_job_that_no_node_can_hold_is_refused_in_slurms_words(cluster_run: Run) -> None:
    cluster_run.request(NAME)
    cluster_run.serve(MLIPILOT_SBATCH_EXTRA="--mem=900G")
    wait_until(lambda: "try 2 of 5" in cluster_run.log(), 60)
    assert "node configuration is not available" in cluster_run.log()
    (cluster_run.path / ATTEMPT / "slurm.json").write_text(json.dumps({"name": NAME, "needs": None}))
    backend = SlurmBackend(cluster_run.path, cluster_run.spool, JobSettings(backend="slurm"))
    (line,) = in_flight_lines([stands(cluster_run, backend)])
    assert line.startswith("not submitted: 0001/seed-11/train (sbatch refused it, try ")
    wait_until(lambda: cluster_run.receipt(NAME), 60)
    (line,) = in_flight_lines([stands(cluster_run, backend)])
    assert line.startswith("refused: ") and "node configuration is not available" in line


def test_a_receipt_that_is_deleted_comes_again(cluster_run: Run) -> None:
    served(cluster_run, "--hold")
    before = cluster_run.receipt(NAME)["job_id"]
    (cluster_run.spool / "receipts" / NAME).unlink()
    wait_until(lambda: cluster_run.receipt(NAME), 30)
    assert cluster_run.receipt(NAME)["job_id"] == before


def test_a_spool_that_is_deleted_submits_nothing_twice(cluster_run: Run) -> None:
    served(cluster_run, "--hold")
    before = cluster_run.receipt(NAME)["job_id"]
    subprocess.run(["rm", "-rf", str(cluster_run.spool)], check=True)
    wait_until(lambda: cluster_run.started[0].poll() is not None, 30)
    cluster_run.request(NAME)  # the controller asks again
    cluster_run.serve()
    wait_until(lambda: cluster_run.receipt(NAME), 60)
    assert cluster_run.receipt(NAME)["job_id"] == before
    named = ["squeue", "-h", "-t", "all", "--me", f"--name={NAME}", "-o", "%A"]
    found = subprocess.run(named, capture_output=True, text=True, check=True).stdout.split()
    assert before in found and len([job for job in found if int(job) >= int(before)]) == 1
