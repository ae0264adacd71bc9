"""What sbatch/ takes of HyperQueue for granted, by its own server and worker.

Its Python package has both, and no program `hq`: one process is server and worker.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sbatch.conftest import REPOSITORY, job_name
from tests.waiting import wait_for_text

pytest.importorskip("hyperqueue", reason="pip install hyperqueue: it is in the extra `dev`")
NAME = job_name()
CLUSTER = """
import json, sys, time
from pathlib import Path
from hyperqueue import Job, LocalCluster
from hyperqueue.cluster import WorkerConfig

folder, words = Path(sys.argv[1]), json.loads(sys.argv[2])
cluster = LocalCluster(str(folder / "server"), WorkerConfig(cores=2))
job = Job(folder, name="any")
job.program(words, stdout="none", stderr="none")
cluster.client().submit(job)
while not (folder / "stop").exists():
    time.sleep(0.05)
cluster.stop()
"""
JOB = """
env >"$1/environment"
for signal in INT TERM; do trap "echo $signal >'$1/signal'; exit" $signal; done
echo $$ >"$1/pid"
while :; do sleep 0.1; done
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server and worker that run one job of a run, as engine_hq.sh submits it."""
    (tmp_path / "spool" / "logs").mkdir(parents=True)
    (tmp_path / "server").mkdir(mode=0o700)
    (tmp_path / "job").write_text(JOB)
    wrapper = str(REPOSITORY / "sbatch" / "hq_job.sh")
    words = ["bash", wrapper, str(tmp_path), NAME, "hq-4711-", "2", str(tmp_path / "job")]
    process = subprocess.Popen(
        [sys.executable, "-c", CLUSTER, str(tmp_path), json.dumps(words)],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_text(tmp_path / "pid")
        yield process
        (tmp_path / "stop").touch()
        process.wait(timeout=30)
    finally:
        process.kill()


def test_a_job_learns_its_id_and_its_start_and_no_key(
    server: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    told = (tmp_path / "environment").read_text().splitlines()
    assert {"SLURM_JOB_ID=hq-4711-1", f"SLURM_JOB_NAME={NAME}", "SLURM_RESTART_COUNT=2"} <= set(told)
    assert not [line for line in told if line.startswith("HQ")]
    access = tmp_path / "server" / "hq-current" / "access.json"
    assert access.stat().st_mode & 0o377 == 0


@pytest.mark.parametrize(("end", "signal"), [("kill", "TERM"), ("stop", "INT")])
def test_a_job_is_told_when_its_worker_ends(
    server: subprocess.Popen[bytes], tmp_path: Path, end: str, signal: str
) -> None:
    """And leads a group of processes, which are all told."""
    pid = int((tmp_path / "pid").read_text())
    assert os.getpgid(pid) == pid
    if end == "kill":
        server.kill()
    else:
        (tmp_path / "stop").touch()
    assert wait_for_text(tmp_path / "signal") == f"{signal}\n"
