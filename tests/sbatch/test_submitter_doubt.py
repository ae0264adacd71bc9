"""Never twice: time-outs, silence and kill -9 leave one job a request."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time

import pytest

from tests.sbatch.conftest import (
    ATTEMPT,
    SUBMITTER,
    Run,
    StandinSlurm,
    job_name,
    read_fields,
)
from tests.waiting import wait_until

NAME = job_name()


def intend(run: Run, age_s: int, tries: int = 1) -> None:
    """What a submitter that was killed after its intent leaves."""
    run.request()
    written = int(time.time()) - age_s
    run.write("intents", NAME, f"time={written}\ntries={tries}\n")
    os.utime(run.spool / "intents" / NAME, (written, written))


@pytest.mark.parametrize("mode", ["timeout_queued", "hang_queued", "mute", "audit"])
def test_a_submission_that_arrived_in_spite_of_the_error_is_found(
    run: Run, standin_slurm: StandinSlurm, mode: str
) -> None:
    standin_slurm.tell("sbatch", mode)
    run.request()
    run.serve(MLIPILOT_SLURM_TIMEOUT_S="1" if mode == "hang_queued" else "5")
    wait_until(lambda: f"{NAME}: found as job 1" in run.log())
    assert run.receipt()["job_id"] == "1"
    assert len(standin_slurm.calls("sbatch")) == 1


@pytest.mark.parametrize("mode", ["timeout_lost", "hang_lost", "unreachable"])
def test_a_submission_that_did_not_arrive_is_made_again_when_that_is_proven(
    run: Run, standin_slurm: StandinSlurm, mode: str
) -> None:
    standin_slurm.tell("sbatch", mode, "")
    run.request()
    run.serve(MLIPILOT_SLURM_TIMEOUT_S="5", MLIPILOT_DOUBT_S="3")
    began = time.monotonic()
    wait_until(run.receipt)
    assert time.monotonic() - began > 3
    assert standin_slurm.job_names() == [NAME]
    assert len(standin_slurm.calls("sbatch")) == 2
    assert read_fields(run.spool / "intents" / NAME)["tries"] == "2"


def test_an_intent_without_receipt_waits_until_it_is_old(run: Run, standin_slurm: StandinSlurm) -> None:
    intend(run, age_s=2)
    run.once(MLIPILOT_DOUBT_S="60")
    assert run.receipt() == {}
    assert standin_slurm.calls("sbatch") == []
    assert [f"--name={NAME}" in call for call in standin_slurm.calls("squeue")] == [False, True]
    intend(run, age_s=70)
    run.once(MLIPILOT_DOUBT_S="60")
    assert run.receipt()["job_id"] == "1"


@pytest.mark.parametrize("mode", ["garbage", "hang", "down", "mumble"])
def test_without_an_answer_of_squeue_nothing_is_submitted_again(
    run: Run, standin_slurm: StandinSlurm, mode: str
) -> None:
    standin_slurm.tell("squeue", "", mode)  # the first look answers, the question about the doubt does not
    intend(run, age_s=1000)
    assert run.once(MLIPILOT_SLURM_TIMEOUT_S="1").returncode == 0
    assert run.receipt() == {}
    assert standin_slurm.calls("sbatch") == []


def test_an_empty_answer_that_is_given_once_proves_nothing(run: Run, standin_slurm: StandinSlurm) -> None:
    standin_slurm.put_job(41, NAME)
    standin_slurm.tell("squeue", "", "empty", "")  # the first look is at the queue as a whole
    intend(run, age_s=1000)
    run.once()
    assert run.receipt()["job_id"] == "41"
    assert standin_slurm.calls("sbatch") == []


def test_without_an_answer_of_sacct_nothing_is_submitted_again(run: Run, standin_slurm: StandinSlurm) -> None:
    standin_slurm.tell("sacct", "down")
    intend(run, age_s=1000)
    run.once()
    assert run.receipt() == {}
    standin_slurm.tell("sacct", "empty")
    run.once()
    assert run.receipt()["job_id"] == "1"


def test_a_job_that_only_the_accounts_remember_is_found(run: Run, standin_slurm: StandinSlurm) -> None:
    standin_slurm.tell("sacct", "on")
    standin_slurm.tell("squeue", "empty")
    standin_slurm.put_job(41, NAME, "COMPLETED")
    intend(run, age_s=1000)
    run.once()
    assert run.receipt()["job_id"] == "41"
    (question,) = [call for call in standin_slurm.calls("sacct") if f"--name={NAME}" in call]
    assert question[question.index("-S") + 1] < time.strftime(
        "%Y-%m-%dT%H", time.localtime(time.time() - 80000)
    )


def test_a_job_that_has_shown_itself_is_found(run: Run, standin_slurm: StandinSlurm) -> None:
    standin_slurm.tell("squeue", "", "down")
    run.write("started", f"{NAME}.1.0", "job_id=8\n")  # of the request whose name goes on with .1
    run.write("started", f"{NAME}.0", "job_id=7\nnode=n1\ntime=1\n")
    run.write("started", f"{NAME}.1", "job_id=7\nnode=n2\ntime=2\n")
    intend(run, age_s=1)
    run.once()
    assert run.receipt()["job_id"] == "7"


def test_two_jobs_of_one_name_are_left_to_a_person(run: Run, standin_slurm: StandinSlurm) -> None:
    standin_slurm.put_job(3, NAME)
    standin_slurm.put_job(5, NAME)
    intend(run, age_s=1000)
    done = run.once()
    assert run.receipt() == {}
    assert "end all but one" in done.stdout
    assert standin_slurm.calls("sbatch") == []


def test_the_fifth_try_is_the_last(run: Run, standin_slurm: StandinSlurm) -> None:
    intend(run, age_s=1000, tries=5)
    run.once()
    assert run.receipt()["status"] == "rejected"
    assert standin_slurm.calls("sbatch") == []


def test_a_cancelled_request_in_doubt_is_resolved_first(run: Run, standin_slurm: StandinSlurm) -> None:
    standin_slurm.put_job(3, NAME, "RUNNING", "None", "n1")
    intend(run, age_s=1)
    run.cancel(NAME)
    run.once()
    assert run.receipt()["job_id"] == "3"
    assert standin_slurm.calls("scancel") == [["3"]]


def test_no_intent_no_submission(run: Run, standin_slurm: StandinSlurm) -> None:
    (run.spool / "intents" / f".{NAME}").mkdir(parents=True)  # so that the intent cannot be written
    run.request()
    done = run.once()
    assert f"cannot write {run.spool}/intents/{NAME}" in done.stdout
    assert standin_slurm.calls("sbatch") == []


def test_a_job_whose_receipt_cannot_be_written_is_found_later(run: Run, standin_slurm: StandinSlurm) -> None:
    obstacle = run.spool / "receipts" / f".{NAME}"
    obstacle.mkdir(parents=True)
    run.request()
    run.once()
    assert standin_slurm.job_names() == [NAME]
    obstacle.rmdir()
    run.once()
    assert run.receipt()["job_id"] == "1"
    assert len(standin_slurm.calls("sbatch")) == 1


def test_killed_between_intent_and_receipt(run: Run, standin_slurm: StandinSlurm) -> None:
    standin_slurm.tell("sbatch", "slow", "")
    run.request()
    service = run.serve()
    wait_until((standin_slurm.root / "queued").exists)
    service.kill()
    service.wait()
    assert (run.spool / "intents" / NAME).exists()
    assert run.receipt() == {}
    done = run.once()
    assert "taking over from a submitter that is gone" in done.stdout
    assert run.receipt()["job_id"] == "1"
    assert len(standin_slurm.calls("sbatch")) == 1


@pytest.mark.slow
def test_killed_at_any_moment_each_request_is_one_job(run: Run, standin_slurm: StandinSlurm) -> None:
    chance = random.Random(7)
    names: list[str] = []
    for _ in range(10):  # new requests before each kill, so that there is always something to interrupt
        names += [run.request(job_name(len(names) + number)) for number in range(1, 4)]
        service = run.serve(MLIPILOT_DOUBT_S="2")
        with pytest.raises(subprocess.TimeoutExpired):
            service.wait(timeout=chance.uniform(0.2, 1.6))
        os.killpg(service.pid, signal.SIGKILL) if chance.random() < 0.5 else service.kill()
        service.wait()
    run.serve(MLIPILOT_DOUBT_S="2")
    wait_until(lambda: all(run.receipt(name) for name in names), seconds=60)
    assert standin_slurm.job_names() == sorted(names)
    for name in names:
        job = (standin_slurm.root / "jobs" / run.receipt(name)["job_id"]).read_text()
        assert job.split("|")[1] == name


def test_a_receipt_that_was_emptied_is_asked_for_anew(run: Run, standin_slurm: StandinSlurm) -> None:
    run.request()
    run.once()
    (run.spool / "receipts" / NAME).write_text("")
    run.once()
    assert run.receipt()["job_id"] == "1" and len(standin_slurm.calls("sbatch")) == 1


def test_another_path_of_the_run_names_the_same_jobs(run: Run, standin_slurm: StandinSlurm) -> None:
    run.request()
    run.once()
    (run.spool / "receipts" / NAME).unlink()
    link = run.path.with_name("link")
    link.symlink_to(run.path)
    command = ["bash", str(SUBMITTER), "--once", str(link)]
    assert subprocess.run(command, env=run.env, capture_output=True, check=True)
    assert run.receipt()["job_id"] == "1" and len(standin_slurm.calls("sbatch")) == 1


def test_a_spool_that_was_made_anew_is_told_by_its_token(run: Run, standin_slurm: StandinSlurm) -> None:
    run.attempt()
    (run.path / ATTEMPT / "slurm.json").touch()
    run.request()
    run.once()
    for path in [*run.spool.rglob("*")]:
        if path.is_file():
            path.unlink()  # the folder, and its inode, stay
    standin_slurm.tell("squeue", "empty")  # it was long ago
    standin_slurm.tell("sacct", "on")
    run.request()
    done = run.once()
    assert "is not the one that the run began with" in done.stdout
    assert run.receipt()["job_id"] == "1" and len(standin_slurm.calls("sbatch")) == 1


def test_what_somebody_deletes_of_the_spool_comes_again(run: Run, standin_slurm: StandinSlurm) -> None:
    run.serve(MLIPILOT_POLL_S="1")
    wait_until((run.spool / "queue").exists)
    for folder in ("receipts", "started", "logs"):
        shutil.rmtree(run.spool / folder)
    (run.spool / "job.sh").unlink()
    run.request()
    wait_until(run.receipt, 30)
    wait_until(lambda: (run.spool / "job.sh").exists() and (run.spool / "logs").is_dir(), 30)
