"""Jobs a minute by Slurm itself and by HyperQueue within one allocation of it, with one core each.

    python ci/benchmark_hyperqueue.py [JOBS]

The jobs do nothing, so the rates are those of submitter and scheduler. It needs a Slurm that answers. `hq`
is taken from the PATH, else it is the tests' stand-in, and the line says so; HyperQueue's own rate is that of
its Python package, where it is installed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))
from tests.sbatch.hq import install_standin  # noqa: E402

CORES = 4
PATIENCE_S = 580
JOB = """\
#!/bin/bash
echo "job_id=$SLURM_JOB_ID" >"$1/spool/started/$SLURM_JOB_NAME.0"
"""


def prepare(run: Path, jobs: int) -> None:
    """A run with requests for trainings."""
    attempt = run / "lineage-0/iterations/0001/seed-1/train/attempt-1"
    for folder in (attempt, run / "spool/requests", run / "scripts"):
        folder.mkdir(parents=True)
    (attempt / "job.json").write_text("{}")
    (run / "scripts/train.sbatch").write_text(JOB)
    fields = {"template": "train", "attempt": attempt.relative_to(run), "minutes": 5, "cpus": 1}
    fields |= {"memory_mib": 100, "gpus": 0}
    text = "".join(f"{key}={value}\n" for key, value in fields.items())
    for number in range(jobs):
        (run / f"spool/requests/mlp-{os.urandom(8).hex()}-l0.0001.s{number}.t.a1").write_text(text)


def served(run: Path, jobs: int, command: list[str], **env: str) -> float:
    """Seconds from the first job's receipt until the queue says that all are over."""
    told = os.environ | {"MLIPILOT_PYTHON": sys.executable, "MLIPILOT_POLL_S": "2"} | env
    told |= {"MLIPILOT_SBATCH_DIR": str(run / "scripts")}
    with (run / "log").open("w") as log:
        service = subprocess.Popen([*command, str(run)], cwd=REPOSITORY, env=told, stdout=log, stderr=log)
    try:
        while not list(run.glob("spool/receipts/mlp-*")):
            time.sleep(0.05)
        begun = time.monotonic()
        while time.monotonic() - begun < PATIENCE_S:
            queue = run / "spool/queue"
            if queue.exists() and queue.read_text().count("|COMPLETED|") == jobs:
                return time.monotonic() - begun
            time.sleep(0.2)
        raise SystemExit(f"not over within {PATIENCE_S} s: {(run / 'log').read_text()[-2000:]}")
    finally:
        (run / "spool/stop").touch()
        service.wait(timeout=60)


def by_package(jobs: int) -> float | None:
    """Seconds that HyperQueue itself takes for as many jobs of one task, by its Python package."""
    try:
        from hyperqueue import Job, LocalCluster
        from hyperqueue.cluster import WorkerConfig
    except ImportError:
        return None
    with tempfile.TemporaryDirectory() as folder, LocalCluster(folder, WorkerConfig(cores=CORES)) as cluster:
        begun, client = time.monotonic(), cluster.client()
        made = []
        for _ in range(jobs):
            job = Job(folder)
            job.program(["/bin/true"], stdout="none", stderr="none")
            made.append(client.submit(job))
        client.wait_for_jobs(made)
        return time.monotonic() - begun


def show(what: str, jobs: int, seconds: float) -> None:
    """A line of the table."""
    print(f"| {what} | {jobs} | {seconds:.1f} | {jobs / seconds * 60:.0f} |", flush=True)


def main() -> None:
    """Print a table's lines."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("jobs", nargs="?", type=int, default=100, metavar="JOBS")
    jobs: int = parser.parse_args().jobs
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        hq = shutil.which("hq")
        (root / "bin").mkdir()
        if hq is None:
            install_standin(root / "bin")
        path = f"{root / 'bin'}:{os.environ['PATH']}"
        allocation = [f"--cpus-per-task={CORES}", "--mem=4G", "--time=30", f"--output={root}/allocation.log"]
        for name, command in (
            ("Slurm", ["bash", "sbatch/submitter.sh"]),
            (
                f"HyperQueue ({'hq' if hq else 'stand-in'})",
                ["sbatch", "--wait", *allocation, "sbatch/hyperqueue.sbatch"],
            ),
        ):
            run = root / name.partition(" ")[0]
            prepare(run, jobs)
            show(name, jobs, served(run, jobs, command, PATH=path))
    if (seconds := by_package(jobs)) is not None:
        print(
            f"| HyperQueue's server and worker alone | {jobs} | {seconds:.1f} | {jobs / seconds * 60:.0f} |"
        )


if __name__ == "__main__":
    main()
