"""What one submitter costs with 1 to 1000 lineages: calls of Slurm's commands, the share of a core at rest.

    python ci/benchmark_submitter.py [--each] [LINEAGES …]

Slurm's commands are stubs that answer at once, so the times are the submitter's own. Each lineage has one
candidate of three seeds under way, which share a job as in the shipped campaigns; with `--each` every
training is a job, and every evaluation one that is queued behind it. After all are submitted the queue does
not change any more, and the submitter is watched at rest for a minute. Then all jobs are over and their
attempts sealed, and what the spool holds of them is folded into one file.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
SEEDS = 3
AT_REST_S = 60
STUB = """\
#!/bin/bash
me=${0##*/}
cd "$STUB_SLURM" || exit
echo "$me" >>calls
case $me in
  sbatch)
    for word in "$@"; do
      case $word in
        --job-name=*) name=${word#*=} ;;
        /*.sbatch) command=$word ;;
        /*) command+=" $word" ;;
      esac
    done
    exec 9>>jobs
    flock 9
    read -r number <last
    echo $((number + 1)) >last
    echo "$((number + 1))|$name|PENDING|Priority||$command" >&9
    echo $((number + 1))
    ;;
  squeue) [ ! -s jobs ] || exec cat jobs ;;
  sacct) echo "Slurm accounting storage is disabled" >&2 && exit 1 ;;
esac
"""


def request(run: Path, lineage: int, packed: bool) -> list[str]:
    """Ask for the jobs of a candidate; their names."""
    paths = {
        (kind, seed): f"lineage-{lineage}/iterations/0001/seed-{seed}/{kind}/attempt-1"
        for kind in ("train", "evaluate")
        for seed in range(SEEDS)
    }
    for path in paths.values():
        (run / path).mkdir(parents=True)
        (run / path / "job.json").write_text("{}")
    head = f"mlp-{lineage:016x}-l{lineage}.0001"
    if packed:
        stages = ("+".join(paths[kind, seed] for seed in range(SEEDS)) for kind in ("train", "evaluate"))
        return [publish(run, f"{head}.t.a1", "fused", ",".join(stages), SEEDS)]
    names = []
    for seed in range(SEEDS):
        training = publish(run, f"{head}.s{seed}.t.a1", "train", paths["train", seed])
        evaluation = f"{head}.s{seed}.e.a1"
        names += [training, publish(run, evaluation, "evaluate", paths["evaluate", seed], after=training)]
    return names


def publish(run: Path, name: str, template: str, attempt: str, width: int = 1, **others: str) -> str:
    fields: dict[str, object] = {"template": template, "attempt": attempt, "minutes": 30, "cpus": width}
    fields |= {"memory_mib": 500 * width, "gpus": 0, **others}
    (run / "spool/requests" / name).write_text("".join(f"{k}={v}\n" for k, v in fields.items()))
    return name


def cpu_s(pid: int) -> float:
    """Of a process and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def count(slurm: Path) -> dict[str, int]:
    calls = (slurm / "calls").read_text().split() if (slurm / "calls").exists() else []
    return {name: calls.count(name) for name in ("sbatch", "squeue", "sacct")}


def files_in(spool: Path) -> int:
    return sum(1 for path in spool.rglob("*") if path.is_file())


def serve(root: Path, **settings: str) -> subprocess.Popen[bytes]:
    """A submitter of the run, whose words go into a log."""
    environment = {"PATH": f"{root / 'slurm/bin'}:{os.environ['PATH']}", "STUB_SLURM": str(root / "slurm")}
    environment |= {"MLIPILOT_PYTHON": sys.executable} | settings
    command = ["bash", str(REPOSITORY / "sbatch/submitter.sh"), str(root / "run")]
    with (root / "log").open("a") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def wait_until(submitter: subprocess.Popen[bytes], root: Path, what: Callable[[], bool]) -> None:
    while not what():
        if submitter.poll() is not None:
            sys.exit((root / "log").read_text())
        time.sleep(0.2)


def end(submitter: subprocess.Popen[bytes]) -> None:
    submitter.send_signal(signal.SIGTERM)
    submitter.wait()


def settle(root: Path) -> None:
    """Have all jobs over and their attempts sealed, and wait until the submitter has folded them."""
    jobs, spool = root / "slurm/jobs", root / "run/spool"
    jobs.write_text(jobs.read_text().replace("|PENDING|Priority|", "|COMPLETED|None|"))
    for order in (root / "run").glob("lineage-*/iterations/*/*/*/*/job.json"):
        order.with_name("manifest-sha256.txt").touch()
    submitter = serve(root, MLIPILOT_POLL_S="1", MLIPILOT_FOLD_S="1")
    try:
        wait_until(submitter, root, lambda: not any((spool / "requests").iterdir()))
    finally:
        end(submitter)


def measure(root: Path, lineages: int, packed: bool) -> None:
    """One line of the table."""
    run, slurm = root / "run", root / "slurm"
    for folder in (run / "spool/requests", slurm / "bin"):
        folder.mkdir(parents=True)
    (slurm / "last").write_text("0\n")
    for command in ("sbatch", "squeue", "sacct", "scancel"):
        (slurm / "bin" / command).write_text(STUB)
        (slurm / "bin" / command).chmod(0o755)
    names = [name for lineage in range(lineages) for name in request(run, lineage, packed)]
    spool = run / "spool"
    submitter = serve(root)
    try:
        began = time.monotonic()
        wait_until(submitter, root, lambda: len(list(spool.glob("receipts/mlp-*"))) == len(names))
        took_s, submitting = time.monotonic() - began, count(slurm)
        time.sleep(5)
        cpu_before, calls_before = cpu_s(submitter.pid), count(slurm)
        time.sleep(AT_REST_S)
        share = (cpu_s(submitter.pid) - cpu_before) / AT_REST_S
        queries = sum(count(slurm).values()) - sum(calls_before.values())
    finally:
        end(submitter)
    files = files_in(spool)
    settle(root)
    per_minute = 60 * len(names) / took_s
    print(
        f"| {lineages} | {submitting['sbatch']} | {submitting['squeue']} | {took_s:.0f} | {per_minute:.0f} "
        f"| {queries * 60 / AT_REST_S:.0f} | {100 * share:.2f} | {files} | {files_in(spool)} |",
        flush=True,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--each", action="store_true", help="each training a job of its own")
    parser.add_argument("lineages", nargs="*", type=int, default=[1, 16, 256, 1000], metavar="LINEAGES")
    asked = parser.parse_args()
    columns = ["lineages", "`sbatch`", "`squeue` meanwhile", "s", "jobs a minute", "queries/min at rest"]
    columns += ["core (%)", "files", "files, folded"]
    print(f"| {' | '.join(columns)} |\n|{'---:|' * len(columns)}")
    for lineages in asked.lineages:
        with tempfile.TemporaryDirectory() as directory:
            measure(Path(directory), lineages, not asked.each)


if __name__ == "__main__":
    main()
