"""The submitter against a real Slurm, such as the one-node cluster of ci/cluster/up.sh."""

from __future__ import annotations

import os
import random
import secrets
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.sbatch.conftest import ATTEMPT, Run, job_name, read_fields
from tests.waiting import wait_until

pytestmark = pytest.mark.cluster
EVALUATION = "lineage-0/iterations/0001/seed-11/evaluate/attempt-1"


@pytest.fixture
def head() -> str:
    """Sixteen digits that no job here has had: as in a run, names are unique for all time."""
    return secrets.token_hex(8)


@pytest.fixture
def name(head: str) -> str:
    return job_name(1, head)


@pytest.fixture
def after(head: str) -> str:
    return job_name(2, head)


def slurm_says(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


def jobs_named(name: str) -> list[str]:
    return slurm_says("squeue", "-h", "-t", "all", f"--name={name}", "-o", "%A").split()


def todo(run: Run, script: str, attempt: str = ATTEMPT) -> Path:
    """Have the job of that attempt do this between its beginning and its end."""
    directory = run.attempt(attempt)
    (directory / "todo.sh").write_text(script)
    return directory


def test_a_request_runs_as_a_job_with_its_arguments_resources_and_no_leaks(
    cluster_run: Run, name: str
) -> None:
    run = cluster_run
    run.attempt(EVALUATION)
    run.request(
        name,
        template="fused",
        attempt=f"{ATTEMPT},{EVALUATION}",
        cpus="2",
        memory_mib="600",
        gpus="1",
        minutes="7",
    )
    run.serve(
        SLURM_JOB_NAME="outer", SLURM_CPU_BIND="quiet", SBATCH_EXCLUSIVE="1", MLIPILOT_GPU_PARTITION="gpu"
    )
    attempt = run.path / ATTEMPT
    wait_until(lambda: run.state(name) == "COMPLETED")
    assert (attempt / "arguments").read_text().splitlines() == [str(run.path), ATTEMPT, EVALUATION]
    told = read_fields(attempt / "environment")
    assert told["SLURM_JOB_NAME"] == name
    assert told["SLURM_JOB_PARTITION"] == "gpu"
    assert told["SLURM_CPUS_PER_TASK"] == "2"
    assert told["SLURM_MEM_PER_NODE"] == "600"
    assert told["CUDA_VISIBLE_DEVICES"] in {"0", "1"}
    assert not {"SLURM_CPU_BIND", "SBATCH_EXCLUSIVE", "MLIPILOT_GPU_PARTITION"} & set(told)
    assert (
        run.spool / "logs" / f"{name}.log"
    ).exists()  # though the path holds what Slurm takes for patterns
    (number,) = jobs_named(name)
    assert run.queue()[1][name][0] == run.receipt(name)["job_id"] == number
    assert read_fields(run.spool / "started" / f"{name}.0")["job_id"] == number
    record = slurm_says("scontrol", "show", "job", number)
    assert "TimeLimit=00:07:00" in record
    assert "Requeue=1" in record


@pytest.mark.parametrize("training", ["sleep 1", "sleep 1; exit 1"])
def test_an_evaluation_begins_when_its_training_is_over_however_it_ended(
    cluster_run: Run, training: str, name: str, after: str
) -> None:
    run = cluster_run
    first = todo(run, training)
    second = run.attempt(EVALUATION)
    run.request(after, template="evaluate", attempt=EVALUATION, after=name)
    run.request(name)
    run.serve()
    wait_until(lambda: run.state(after) == "COMPLETED", 30)
    assert run.state(name) == ("FAILED" if "exit 1" in training else "COMPLETED")
    begun = float((second / "begun").read_text())
    assert begun >= float((first / "begun").read_text()) + 1.0


def test_an_evaluation_asked_for_when_its_training_is_long_over_begins(
    cluster_run: Run, name: str, after: str
) -> None:
    run = cluster_run
    run.request(name)
    run.once()
    wait_until(lambda: run.once() and run.state(name) == "COMPLETED", 30)
    # Slurm has forgotten the number by then, or never knew it
    run.write("receipts", name, "status=submitted\njob_id=987654\ntime=1\n")
    run.attempt(EVALUATION)
    run.request(after, template="evaluate", attempt=EVALUATION, after=name)
    run.serve()
    wait_until(lambda: run.state(after) == "COMPLETED", 30)


def test_running_and_waiting_jobs_are_cancelled(cluster_run: Run, name: str, after: str) -> None:
    run = cluster_run
    todo(run, "sleep 300")
    run.attempt(EVALUATION)
    run.request(name)
    run.request(after, template="evaluate", attempt=EVALUATION, after=name)
    run.serve()
    wait_until(lambda: run.state(name) == "RUNNING")
    wait_until(lambda: run.state(after) == "PENDING")
    assert run.queue()[1][after][2] == "Dependency"
    run.cancel(after)
    run.cancel(name)
    wait_until(lambda: run.state(name) == run.state(after) == "CANCELLED", 30)
    assert not (run.path / EVALUATION / "begun").exists()


def test_a_job_of_another_name_is_left_alone(cluster_run: Run, name: str) -> None:
    run = cluster_run
    number = slurm_says(
        "sbatch", "--parsable", "--job-name=mine", "--output=/dev/null", "--wrap=sleep 60"
    ).strip()
    try:
        run.request(name)
        run.write("receipts", name, f"status=submitted\njob_id={number}\ntime=1\n")
        run.cancel(name)
        assert run.once().returncode == 0
        assert name not in run.queue()[1]
        assert slurm_says("squeue", "-h", "-j", number, "-o", "%T").strip() in {"PENDING", "RUNNING"}
    finally:
        subprocess.run(["scancel", number], check=True)


def test_a_requeued_job_starts_again_under_its_number(cluster_run: Run, name: str) -> None:
    run = cluster_run
    todo(run, '[ "${SLURM_RESTART_COUNT:-0}" -gt 0 ] || sleep 300')
    run.request(name)
    run.serve()
    wait_until((run.spool / "started" / f"{name}.0").exists)
    number = run.receipt(name)["job_id"]
    subprocess.run(["scontrol", "requeue", number], check=True)
    wait_until((run.spool / "started" / f"{name}.1").exists, 60)
    wait_until(lambda: run.state(name) == "COMPLETED")
    assert run.queue()[1][name][0] == number


def test_slurms_own_words_of_refusal(cluster_run: Run, name: str) -> None:
    run = cluster_run
    run.request(name)
    run.serve(MLIPILOT_GPU_PARTITION="no-such")
    wait_until(lambda: run.receipt(name), 40)
    assert run.receipt(name)["status"] == "rejected"
    assert "invalid partition specified: no-such" in run.receipt(name)["reason"]
    assert jobs_named(name) == []


def test_a_controller_that_does_not_answer_is_told_apart_from_an_empty_queue(
    cluster_run: Run, tmp_path: Path, name: str
) -> None:
    run = cluster_run
    known = slurm_says("scontrol", "show", "config").splitlines()
    origin = next(line.split("=")[1].strip() for line in known if line.startswith("SLURM_CONF "))
    elsewhere = tmp_path / "slurm.conf"
    elsewhere.write_text(Path(origin).read_text() + "\nSlurmctldPort=1\nMessageTimeout=2\n")
    run.request(name)
    run.write("intents", name, "time=1\ntries=1\n")
    os.utime(run.spool / "intents" / name, (1, 1))
    assert run.once(SLURM_CONF=str(elsewhere)).returncode == 75
    assert run.queue()[0]["ok"] == "0"
    assert run.receipt(name) == {}
    assert run.once().returncode == 0
    assert len(jobs_named(name)) == 1


@pytest.mark.slow
def test_killed_at_any_moment_each_request_is_one_real_job(cluster_run: Run, head: str) -> None:
    run, chance, names = cluster_run, random.Random(3), []
    wait = {"MLIPILOT_DOUBT_S": "2"}
    for first in range(0, 60, 10):
        names += [run.request(job_name(number, head)) for number in range(first + 1, first + 11)]
        done = first + chance.randrange(10)
        service = run.serve(**wait)
        wait_for_receipts(run, names, at_least=done)
        time.sleep(chance.uniform(0.0, 0.2))
        service.kill()
        assert service.wait() == -signal.SIGKILL, "it had ended by itself"
    run.serve(**wait)
    wait_for_receipts(run, names, at_least=len(names))
    assert [jobs_named(name) for name in names] == [[run.receipt(name)["job_id"]] for name in names]


def wait_for_receipts(run: Run, names: list[str], at_least: int) -> None:
    wait_until(lambda: sum(bool(run.receipt(name)) for name in names) >= at_least, 150)
