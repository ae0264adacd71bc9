"""What one submitter costs with 1 to 1000 lineages: calls of Slurm's commands, the share of a core at rest.

    python ci/benchmark_submitter.py [LINEAGES …]

Slurm's commands are stubs that answer at once, so the times are the submitter's own. Each lineage has one
candidate of three seeds under way: three trainings, and three evaluations queued behind them. After all are
submitted the queue does not change any more, and the submitter is watched at rest for a minute.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
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


def request(run: Path, lineage: int, seed: int) -> list[str]:
    """Ask for a training and for the evaluation behind it; their names."""
    names: list[str] = []
    for kind in ("train", "evaluate"):
        attempt = run / f"lineage-{lineage}/iterations/0001/seed-{seed}/{kind}/attempt-1"
        attempt.mkdir(parents=True)
        (attempt / "job.json").write_text("{}")
        name = f"mlp-{lineage:016x}-l{lineage}.0001.s{seed}.{kind[0]}.a1"
        fields = {"template": kind, "attempt": attempt.relative_to(run), "minutes": 30, "cpus": 1}
        fields |= {"memory_mib": 500, "gpus": 0} | ({"after": names[0]} if names else {})
        (run / "spool/requests" / name).write_text("".join(f"{k}={v}\n" for k, v in fields.items()))
        names.append(name)
    return names


def cpu_s(pid: int) -> float:
    """Of a process and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def count(slurm: Path) -> dict[str, int]:
    calls = (slurm / "calls").read_text().split() if (slurm / "calls").exists() else []
    return {name: calls.count(name) for name in ("sbatch", "squeue", "sacct")}


def measure(root: Path, lineages: int) -> None:
    """One line of the table."""
    run, slurm = root / "run", root / "slurm"
    for folder in (run / "spool/requests", slurm / "bin"):
        folder.mkdir(parents=True)
    (slurm / "last").write_text("0\n")
    for command in ("sbatch", "squeue", "sacct", "scancel"):
        (slurm / "bin" / command).write_text(STUB)
        (slurm / "bin" / command).chmod(0o755)
    names = [n for lineage in range(lineages) for seed in range(SEEDS) for n in request(run, lineage, seed)]
    environment = {"PATH": f"{slurm / 'bin'}:{os.environ['PATH']}", "STUB_SLURM": str(slurm)}
    environment["MLIPILOT_PYTHON"] = sys.executable
    with (root / "log").open("w") as log:
        submitter = subprocess.Popen(
            ["bash", str(REPOSITORY / "sbatch/submitter.sh"), str(run)],
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        began = time.monotonic()
        receipts = run / "spool/receipts"
        while not receipts.is_dir() or sum(1 for name in receipts.iterdir() if name.name[0] == "m") < len(
            names
        ):
            if submitter.poll() is not None:
                sys.exit((root / "log").read_text())
            time.sleep(0.2)
        took_s, submitting = time.monotonic() - began, count(slurm)
        time.sleep(5)
        cpu_before, calls_before = cpu_s(submitter.pid), count(slurm)
        time.sleep(AT_REST_S)
        share = (cpu_s(submitter.pid) - cpu_before) / AT_REST_S
        queries = sum(count(slurm).values()) - sum(calls_before.values())
    finally:
        submitter.send_signal(signal.SIGTERM)
        submitter.wait()
    per_minute = 60 * len(names) / took_s
    print(
        f"| {lineages} | {submitting['sbatch']} | {submitting['squeue']} | {took_s:.0f} | {per_minute:.0f} "
        f"| {queries * 60 / AT_REST_S:.0f} | {100 * share:.2f} |",
        flush=True,
    )


def main() -> None:
    """Print the table."""
    print("| lineages | `sbatch` | `squeue` meanwhile | s | jobs a minute | queries/min at rest | core (%) |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    for lineages in [int(word) for word in sys.argv[1:]] or [1, 16, 256, 1000]:
        with tempfile.TemporaryDirectory() as directory:
            measure(Path(directory), lineages)


if __name__ == "__main__":
    main()
