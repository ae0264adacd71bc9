"""What `sbatch/job.sh` does around the phases of an attempt; Apptainer is a stand-in here."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlipilot.audit.files import write_json
from mlipilot.jobs.job_files import JobOrder, read_result
from tests.sbatch.conftest import REPOSITORY
from tests.waiting import wait_for_text, wait_until

MakeOrder = Callable[..., JobOrder]
ATTEMPT = "lineage-0/iterations/0001/seed-7/train/attempt-1"


class Node:
    """A node on which Slurm starts job.sh for one attempt, whose code is `code`."""

    def __init__(self, run: Path, order: JobOrder, standin: Path) -> None:
        self.run, self.attempt, self.standin = run, run / ATTEMPT, standin
        self.attempts = [ATTEMPT]
        self.attempt.mkdir(parents=True)
        write_json(self.attempt / "job.json", order.model_dump())
        write_json(self.attempt / "slurm.json", {"name": "mlp-x"})
        (run / "spool" / "started").mkdir(parents=True)
        for script in ("job.sh", "common.sh", "container.sh"):
            shutil.copy(REPOSITORY / "sbatch" / script, run / "spool")
        self.image = standin / "image.sif"
        self.image.write_bytes(b"an image")
        digest = hashlib.sha256(b"an image").hexdigest()
        (run / "spool" / "site.env").write_text(f"image={self.image}\nimage_sha256={digest}\nmodules=\n")
        (standin / "bin").mkdir()
        (runtime := standin / "runtime").mkdir(mode=0o700)
        self.env = {"XDG_RUNTIME_DIR": str(runtime)}
        self.python(f'exec {sys.executable} "$@"')
        (standin / "bin" / "apptainer").symlink_to(REPOSITORY / "tests" / "sbatch" / "standin_apptainer")

    def python(self, script: str) -> None:
        """What runs as Python in the image."""
        self.program("python", script)

    def program(self, name: str, script: str) -> None:
        """What is found under a name first."""
        path = self.standin / "bin" / name
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(0o755)

    def start(self, **environment: str) -> subprocess.Popen[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
        path = f"{self.standin / 'bin'}:{os.environ['PATH']}"
        told = {"PATH": path, "SLURM_JOB_ID": "42", "SLURM_JOB_NAME": "mlp-x", "SLURMD_NODENAME": "n1"}
        return subprocess.Popen(
            ["bash", str(self.run / "spool" / "job.sh"), str(self.run), *self.attempts],
            env=kept | told | {"STANDIN_APPTAINER": str(self.standin)} | self.env | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def cancel(self) -> None:
        """As the controller asks for it; the signal is then Slurm's."""
        (self.run / "spool" / "cancel").mkdir()
        (self.run / "spool" / "cancel" / "mlp-x").touch()

    def work(self, **environment: str) -> tuple[int, str]:
        job = self.start(**environment)
        said, _ = job.communicate(timeout=60)
        return job.returncode, said


@pytest.fixture
def node(run: Path, make_order: MakeOrder, tmp_path: Path) -> Callable[..., Node]:
    def make(code: str, **changes: object) -> Node:
        (standin := tmp_path / "standin").mkdir()
        update = {"reads": [str(run / "recipe")]} | changes
        return Node(run, make_order(code).model_copy(update=update), standin)

    return make


def test_a_job_runs_and_is_sealed(node: Callable[..., Node]) -> None:
    here = node("print('hello')")
    status, said = here.work()
    assert status == 0, said
    result = read_result(here.attempt)
    assert (result.outcome, result.job_id, result.isolation.network) == ("ok", "42", "none")
    assert (here.attempt / "stdout.log").read_text() == "hello\n"
    begin, judge, end = (
        call.split("\x1f") for call in (here.standin / "calls").read_text().splitlines() if "phases" in call
    )
    assert all("SLURM_JOB_NAME=mlp-x" in call for call in (begin, judge, end))
    assert result.isolation.measured and "network: cut off by namespace" in said
    assert "job_id=42\nnode=n1\n" in (here.run / "spool" / "started" / "mlp-x.0").read_text()


def test_an_image_that_was_changed_is_not_run(node: Callable[..., Node]) -> None:
    here = node("print('hello')")
    here.image.write_bytes(b"An image")
    status, said = here.work()
    assert status == 1
    assert f"the image is not the run's: {here.image} has SHA-256" in said.splitlines()[-1]
    assert not (here.standin / "calls").exists() and not (here.attempt / "worker.json").exists()


def test_the_next_job_on_a_node_does_not_read_the_image_again(node: Callable[..., Node]) -> None:
    here = node("print('hello')")
    here.program("sha256sum", 'echo >>"$STANDIN_APPTAINER/reads"; exec /usr/bin/sha256sum "$@"')
    time.sleep(3.1)  # what has just changed is not remembered
    site = here.run / "spool" / "site.env"
    text = site.read_text()
    for reads, setting in (1, ""), (1, "hash_always=0\n"), (2, "hash_always=1\n"):
        site.write_text(text + setting)
        assert here.work()[0] == 0
        assert len((here.standin / "reads").read_text().splitlines()) == reads
    here.image.write_bytes(b"An image")
    assert here.work()[0] == 1


def test_a_module_that_cannot_be_loaded_fails_the_job_with_its_words(node: Callable[..., Node]) -> None:
    here = node("print('hello')")
    here.program("module", "echo 'no such module' >&2; exit 1")
    site = here.run / "spool" / "site.env"
    site.write_text(site.read_text().replace("modules=", "modules=apptainer/9"))
    status, said = here.work()
    assert status == 2
    assert re.search("module apptainer/9 of MLIPILOT_MODULES was not loaded on .*: no such module", said)
    assert not (here.standin / "calls").exists()


def test_the_program_of_singularityce_does_instead(
    node: Callable[..., Node], path_without: Callable[..., str]
) -> None:
    here = node("print('hello')")
    (here.standin / "bin" / "apptainer").rename(here.standin / "bin" / "singularity")
    here.env["PATH"] = f"{here.standin / 'bin'}:{path_without('apptainer', 'singularity')}"
    status, said = here.work()
    assert status == 0, said
    assert read_result(here.attempt).outcome == "ok"
    argv = (here.attempt / "container.none").read_text().splitlines()
    assert argv[argv.index("--silent") - 1] == "singularity"


def test_a_node_without_either_fails_the_job(
    node: Callable[..., Node], path_without: Callable[..., str]
) -> None:
    here = node("print('hello')")
    here.env["PATH"] = path_without("apptainer", "singularity")
    status, said = here.work()
    assert status == 2 and "neither apptainer nor singularity is on the PATH" in said


def test_where_the_network_stays_open_the_record_says_so(node: Callable[..., Node]) -> None:
    here = node("pass")
    (here.standin / "no_network_none").touch()
    assert here.work()[0] == 0
    assert read_result(here.attempt).isolation.network == "host"


def test_where_the_network_stays_open_and_must_not_nothing_runs(node: Callable[..., Node]) -> None:
    here = node("print('hello')", require_no_network=True)
    (here.standin / "no_network_none").touch()
    status, said = here.work()
    assert status == 0 and "warning: nothing here keeps the job's code from the network" in said
    assert "not run: the campaign requires jobs without a network" in said
    result = read_result(here.attempt)
    assert result.outcome == "not_isolated" and "cannot be cut off" in str(result.reason)
    assert not (here.attempt / "stdout.log").exists()


def test_what_a_container_shows_besides_is_refused_before_anything_runs(node: Callable[..., Node]) -> None:
    here = node("print('hello')")
    (here.standin / "leaks").write_text("mount 1 1 8:1 /srv /srv/secret rw - ext4 /dev/sda rw\n")
    status, said = here.work()
    assert status == 0 and "mount /srv/secret (ext4 /dev/sda, writable)" in said
    assert read_result(here.attempt).outcome == "not_isolated" and not (here.attempt / "stdout.log").exists()


def test_a_container_that_does_not_start_is_told_and_nothing_runs(node: Callable[..., Node]) -> None:
    here = node("print('hello')")
    (here.standin / "bin" / "apptainer").unlink()
    real = REPOSITORY / "tests" / "sbatch" / "standin_apptainer"
    broken = 'case "$*" in *"/bin/bash -p -s"*) echo FATAL: no loop devices >&2; exit 255 ;; esac'
    (here.standin / "bin" / "apptainer").write_text(f'#!/bin/bash\n{broken}\nexec {real} "$@"\n')
    (here.standin / "bin" / "apptainer").chmod(0o755)
    assert here.work()[0] == 0
    result = read_result(here.attempt)
    assert result.outcome == "not_isolated" and "FATAL: no loop devices" in str(result.reason)


def test_no_variable_of_the_site_reaches_a_container(
    node: Callable[..., Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = node("pass")
    harmful = ("APPTAINER_BIND", "SINGULARITY_BINDPATH", "APPTAINERENV_TOKEN", "SINGULARITYENV_TOKEN", "TERM")
    for name in (*harmful, "APPTAINER_CONFIG_FILE", "https_proxy", "APPTAINER_CACHEDIR"):
        monkeypatch.setenv(name, "x")
    _, said = here.work()
    seen = (here.standin / "environment").read_text().split()
    left = [name for name in seen if "APPTAINER" in name or "SING" in name or "proxy" in name.lower()]
    assert sorted(left) == ["APPTAINER_CACHEDIR", "STANDIN_APPTAINER"] and "TERM" not in seen
    (told,) = [line for line in said.splitlines() if "left out of the environment of containers:" in line]
    assert {"APPTAINER_BIND", "APPTAINERENV_TOKEN", "SINGULARITY_BINDPATH"} <= set(told.split())


def test_a_job_that_is_cancelled_ends_its_work_and_the_attempt_is_sealed(node: Callable[..., Node]) -> None:
    here = node("import time; print('up', flush=True); time.sleep(60)")
    job = here.start()
    log = here.attempt / "stdout.log"
    wait_for_text(log)
    here.cancel()
    job.send_signal(signal.SIGUSR2)
    job.communicate(timeout=60)
    assert read_result(here.attempt).outcome == "cancelled"


def test_a_signal_that_nobody_here_asked_for_ends_the_work_and_leaves_the_word_to_slurm(
    node: Callable[..., Node],
) -> None:
    here = node("import time; print('up', flush=True); time.sleep(60)")
    job = here.start()
    log = here.attempt / "stdout.log"
    wait_for_text(log)
    job.send_signal(signal.SIGUSR2)
    said, _ = job.communicate(timeout=60)
    assert "ended from outside" in said
    assert not (here.attempt / "result.json").exists()


def test_a_signal_before_the_work_ends_it_too(node: Callable[..., Node]) -> None:
    here = node("import time; time.sleep(60)")
    here.python(f'echo >begun; sleep 0.2; exec {sys.executable} "$@"')
    job = here.start()
    wait_until((here.standin / "begun").exists)
    here.cancel()
    job.send_signal(signal.SIGUSR2)
    job.communicate(timeout=60)
    assert read_result(here.attempt).outcome == "cancelled"
    assert json.loads((here.attempt / "result.json").read_text())["wall_s"] < 60  # which the work would take
