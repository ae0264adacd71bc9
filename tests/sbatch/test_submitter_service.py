"""How the submitter starts, serves and ends, and that one serves a run; Slurm is a stand-in here."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.sbatch.conftest import Run, StandinSlurm, job_name, read_fields
from tests.waiting import wait_until

NAME = job_name()


def test_the_site_file_and_the_jobs_scripts_are_put_into_the_run(run: Run, tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    for script in ("job.sh", "common.sh"):
        (tmp_path / "scripts" / script).write_text(f"echo {script}\n")
    (image := tmp_path / "a.sif").touch()
    site = {
        "MLIPILOT_IMAGE": str(image),
        "MLIPILOT_IMAGE_SHA256": "ab" * 32,
        "MLIPILOT_MODULES": "apptainer/1.4",
        "MLIPILOT_PYTHON": "",
    }
    run.once(MLIPILOT_SBATCH_DIR=str(tmp_path / "scripts"), **site)
    for script in ("job.sh", "common.sh"):
        assert (run.spool / script).read_text() == f"echo {script}\n"
    expected = {"image": str(image), "image_sha256": "ab" * 32, "modules": "apptainer/1.4", "python": ""}
    expected |= dict.fromkeys(("endpoint", "endpoint_image", "endpoint_options"), "")
    expected |= {"endpoint_wait_s": "1800", "endpoint_idle_s": "900", "hash_always": "0"}
    assert read_fields(run.spool / "site.env") == expected
    run.once(MLIPILOT_PYTHON="")  # a submitter that is told nothing leaves the run with its own
    assert read_fields(run.spool / "site.env") == expected
    run.once(MLIPILOT_PYTHON="/opt/python")
    assert read_fields(run.spool / "site.env")["python"] == "/opt/python"


def test_what_jobs_run_with_is_said_once(run: Run) -> None:
    done = run.once(MLIPILOT_PYTHON="")
    assert done.returncode == 2
    assert "neither MLIPILOT_IMAGE nor MLIPILOT_PYTHON is set" in done.stderr
    assert run.once().returncode == 0 and run.once(MLIPILOT_PYTHON="").returncode == 0


def test_an_image_needs_its_digest(run: Run, tmp_path: Path) -> None:
    (image := tmp_path / "a.sif").touch()
    done = run.once(MLIPILOT_IMAGE=str(image))
    assert done.returncode == 2
    assert "MLIPILOT_IMAGE_SHA256='' is no SHA-256" in done.stderr
    assert not (run.spool / "submitter.lock").exists()
    (run.path / "image.sha256").write_text("cd" * 32 + "\n")
    assert run.once(MLIPILOT_IMAGE=str(image)).returncode == 0
    assert read_fields(run.spool / "site.env")["image_sha256"] == "cd" * 32
    done = run.once(MLIPILOT_IMAGE="containers/a.sif")
    assert done.returncode == 2
    assert "MLIPILOT_IMAGE='containers/a.sif' is no absolute path" in done.stderr


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"MLIPILOT_POLL_S": "soon"}, "MLIPILOT_POLL_S='soon' is not a whole number: set it to 1 or more"),
        ({"MLIPILOT_MAX_CPUS": "0"}, "MLIPILOT_MAX_CPUS='0'"),
        ({"MLIPILOT_SBATCH_DIR": "sbatch"}, "MLIPILOT_SBATCH_DIR='sbatch' is no absolute path"),
    ],
)
def test_a_wrong_setting_is_named(run: Run, env: dict[str, str], words: str) -> None:
    done = run.once(**env)
    assert done.returncode == 2
    assert words in done.stderr


def test_a_host_without_slurm_is_told_so(run: Run, tmp_path: Path) -> None:
    (programs := tmp_path / "programs").mkdir()
    for program in ("bash", "dirname"):
        (programs / program).symlink_to(shutil.which(program) or "")
    done = run.once(PATH=str(programs))
    assert done.returncode == 2
    assert "'sbatch' is not on the PATH: load the site's Slurm" in done.stderr


def test_the_run_must_be_an_absolute_directory(run: Run) -> None:
    for path in ("run", "/nowhere/at/all", "/tmp/a\\b"):
        run.path = Path(path)
        done = run.once()
        assert done.returncode == 2
        assert f"RUN '{path}' is no" in done.stderr


def test_the_service_beats_and_ends_when_it_is_told_to(run: Run, standin_slurm: StandinSlurm) -> None:
    first = run.serve()
    wait_until((run.spool / "queue").exists)
    beat = read_fields(run.spool / "submitter")
    assert (beat["host"], beat["pid"], beat["generation"]) == (socket.gethostname(), str(first.pid), "1")
    first.send_signal(signal.SIGTERM)
    assert first.wait(timeout=60) == 0
    assert not (run.spool / "submitter.lock").exists()
    run.request()
    (run.spool / "stop").touch()
    second = run.serve()
    assert second.wait(timeout=60) == 0
    assert run.receipt()["job_id"] == "1"  # asked for before the stop was seen
    assert read_fields(run.spool / "submitter")["generation"] == "2"
    assert str(run.path / "spool" / "stop") in run.log()


def test_term_during_sbatch_still_writes_the_receipt_and_begins_nothing_more(
    run: Run, standin_slurm: StandinSlurm
) -> None:
    standin_slurm.tell("sbatch", "slow")
    run.request()
    run.request(second := job_name(2))
    service = run.serve()
    wait_until((standin_slurm.root / "queued").exists)
    service.send_signal(signal.SIGTERM)
    assert service.wait(timeout=60) == 0
    assert run.receipt()["job_id"] == "1"
    assert run.receipt(second) == {}
    assert standin_slurm.job_names() == [NAME]


def put_lock(run: Run, owner: str, silent_s: int) -> Path:
    lock = run.spool / "submitter.lock"
    lock.mkdir(parents=True)
    (lock / "owner").write_text(f"{owner}\n")
    seen = int(time.time()) - silent_s
    run.write(".", "submitter", f"time={seen}\nhost=x\npid=1\ngeneration=4\n")
    for path in (lock, run.spool / "submitter"):
        os.utime(path, (seen, seen))
    return lock


def this_boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_a_second_submitter_waits_and_then_takes_over(run: Run, standin_slurm: StandinSlurm) -> None:
    first = run.serve()
    wait_until((run.spool / "queue").exists)
    assert "another submitter serves this run" in run.once().stdout
    second = run.serve()
    wait_until(lambda: "waiting: another submitter" in run.log())
    run.request()
    wait_until(run.receipt)
    assert read_fields(run.spool / "submitter")["pid"] == str(first.pid)
    first.kill()
    first.wait()
    wait_until(lambda: read_fields(run.spool / "submitter")["pid"] == str(second.pid))
    second.send_signal(signal.SIGTERM)
    assert second.wait(timeout=60) == 0
    assert len(standin_slurm.calls("sbatch")) == 1


@pytest.mark.parametrize(
    ("owner", "silent_s", "stolen"),
    [
        ("host=elsewhere pid=1 ticks=1 boot=b", 500, False),
        ("host=elsewhere pid=1 ticks=1 boot=b", 700, True),
        (f"host={socket.gethostname()} pid=1 ticks=0 boot=another-boot", 30, False),
        (
            f"host={socket.gethostname()} pid=1 ticks=0 boot={this_boot()}",
            0,
            True,
        ),  # pid 1 began at another time
        (f"host={socket.gethostname()} pid=99999999 ticks=5 boot={this_boot()}", 0, True),
        ("", 30, False),
        ("", 700, True),
    ],
)
def test_a_lock_is_taken_from_the_dead_and_the_silent_only(
    run: Run, standin_slurm: StandinSlurm, owner: str, silent_s: int, stolen: bool
) -> None:
    lock = put_lock(run, owner, silent_s)
    done = run.once()
    assert done.returncode == 0
    assert ("taking over" in done.stdout) is stolen
    assert bool(standin_slurm.calls("squeue")) is stolen
    assert lock.exists() is not stolen
    assert [path.name for path in run.spool.glob(".submitter.lock*")] == []


def test_a_submitter_whose_lock_was_taken_submits_nothing_more(run: Run, standin_slurm: StandinSlurm) -> None:
    service = run.serve()
    wait_until((run.spool / "queue").exists)
    (run.spool / "submitter.lock").rename(run.spool / "aside")
    put_lock(run, "host=elsewhere pid=1 ticks=1 boot=b", 0)
    run.request()
    assert service.wait(timeout=60) == 1
    assert standin_slurm.calls("sbatch") == []
    assert (run.spool / "submitter.lock").exists()
    assert "the lock is not ours any more but of host=elsewhere" in run.log()


def test_a_lock_taken_in_the_middle_of_a_pass_ends_the_pass(run: Run, standin_slurm: StandinSlurm) -> None:
    standin_slurm.tell("sbatch", "slow")
    run.request()
    run.request(job_name(2))
    service = run.serve()
    wait_until((standin_slurm.root / "queued").exists)
    (run.spool / "submitter.lock").rename(run.spool / "aside")
    put_lock(run, "host=elsewhere pid=1 ticks=1 boot=b", 0)
    assert service.wait(timeout=60) == 1
    assert standin_slurm.job_names() == [NAME]


def test_a_link_in_place_of_a_mark_is_not_written_through(
    run: Run, standin_slurm: StandinSlurm, tmp_path: Path
) -> None:
    (victim := tmp_path / "victim").write_text("mine\n")
    run.spool.mkdir(exist_ok=True)
    for mark in ("news", ".looked"):
        (run.spool / mark).symlink_to(victim)
    service = run.serve()
    run.request()
    wait_until(lambda: run.receipt())
    wait_until((run.spool / "queue").exists)
    service.terminate()
    service.wait()
    assert victim.read_text() == "mine\n"
