"""A run with a spool, the submitter beside it, and Slurm: a stand-in that answers as told, or a real one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SUBMITTER = REPOSITORY / "sbatch" / "submitter.sh"
ATTEMPT = "lineage-0/iterations/0001/seed-11/train/attempt-1"


def job_name(number: int = 1, head: str = "0123456789abcdef") -> str:
    return f"mlp-{head}-l0.{number:04}.s11.t.a1"


def read_fields(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text().splitlines())


@dataclass
class Run:
    """A run's directory, and the submitter that serves it with the environment in `env`."""

    path: Path
    env: dict[str, str]
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def spool(self) -> Path:
        return self.path / "spool"

    def attempt(self, relative: str = ATTEMPT) -> Path:
        directory = self.path / relative
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "job.json").write_text("{}")
        return directory

    def request(self, name: str = job_name(), /, *, text: str | None = None, **changes: str | None) -> str:
        """Publish a good request with `changes`; a change to None leaves the key out."""
        fields: dict[str, str | None] = {"template": "train", "attempt": ATTEMPT, "minutes": "30"}
        fields |= {"cpus": "2", "memory_mib": "500", "gpus": "0"} | changes
        self.attempt()
        lines = "".join(f"{key}={value}\n" for key, value in fields.items() if value is not None)
        return self.write("requests", name, lines if text is None else text)

    def cancel(self, name: str) -> None:
        self.write("cancel", name, "")

    def write(self, folder: str, name: str, text: str) -> str:
        target = self.spool / folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{name}")
        temporary.write_text(text)
        temporary.rename(target)
        return name

    def receipt(self, name: str = job_name()) -> dict[str, str]:
        path = self.spool / "receipts" / name
        return read_fields(path) if path.exists() else {}

    def queue(self) -> tuple[dict[str, str], dict[str, list[str]]]:
        """The first line's values, and name -> number, state, reason, nodes."""
        path = self.spool / "queue"
        head, *rows = path.read_text().splitlines() if path.exists() else [""]
        return (
            dict(word.split("=", 1) for word in head.split()),
            {row.split("|")[0]: row.split("|")[1:5] for row in rows},
        )

    def since(self, name: str = job_name()) -> int:
        """When the submitter first saw the job as it is now."""
        (row,) = [
            row for row in (self.spool / "queue").read_text().splitlines() if row.startswith(f"{name}|")
        ]
        return int(row.split("|")[5])

    def state(self, name: str = job_name()) -> str:
        return self.queue()[1].get(name, ["", ""])[1]

    def once(self, **env: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", str(SUBMITTER), "--once", str(self.path)]
        return subprocess.run(command, env=self.env | env, capture_output=True, text=True, timeout=60)

    def serve(self, **env: str) -> subprocess.Popen[str]:
        command = ["bash", str(SUBMITTER), str(self.path)]
        with (self.path / "submitter.log").open("a") as log:
            process = subprocess.Popen(
                command, env=self.env | env, stdout=log, stderr=log, text=True, start_new_session=True
            )
        self.started.append(process)
        return process

    def log(self) -> str:
        return (self.path / "submitter.log").read_text()

    def end_all(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.started:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def make_run(path: Path, **env: str) -> Run:
    path.mkdir(parents=True)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLIPILOT_")}
    settings = {"MLIPILOT_POLL_S": "1", "MLIPILOT_DOUBT_S": "5", "MLIPILOT_PYTHON": "/usr/bin/python3"}
    return Run(path, kept | settings | env)


@dataclass
class StandinSlurm:
    """What the stand-in commands log, and how they are told to behave."""

    root: Path

    def tell(self, command: str, *modes: str) -> None:
        (self.root / command).write_text("".join(f"{mode}\n" for mode in modes))

    def all_calls(self) -> list[list[str]]:
        """The words of each, in their order, the name first."""
        path = self.root / "calls"
        lines = path.read_text().split("\x1f\n") if path.exists() else []
        return [line.split("\x1f") for line in lines if line]

    def calls(self, command: str) -> list[list[str]]:
        """What followed this name in each."""
        return [words[1:] for words in self.all_calls() if words[0] == command]

    def environment(self, command: str) -> dict[str, str]:
        entries = (self.root / f"env.{command}").read_text().split("\0")
        return dict(entry.split("=", 1) for entry in entries if entry)

    def put_job(
        self,
        number: int | str,
        name: str,
        state: str = "PENDING",
        reason: str = "",
        nodes: str = "",
        run: Path | None = None,
    ) -> None:
        """`run`: whose job it is, by the path of its command."""
        command = f"/a/train.sbatch {run or self.root.with_name('run')} {ATTEMPT}"
        line = f"{number}|{name}|{state}|{reason}|{nodes}|{command}\n"
        (self.root / "jobs" / str(number)).write_text(line)
        (self.root / "numbers" / str(number)).mkdir(exist_ok=True)

    def job_names(self) -> list[str]:
        return sorted(path.read_text().split("|")[1] for path in (self.root / "jobs").iterdir())


@pytest.fixture
def standin_slurm(tmp_path: Path) -> StandinSlurm:
    return make_standin(tmp_path / "standin")


def make_standin(root: Path) -> StandinSlurm:
    for folder in ("bin", "jobs", "numbers"):
        (root / folder).mkdir(parents=True)
    for command in ("sbatch", "squeue", "sacct", "scancel", "scontrol"):
        (root / "bin" / command).symlink_to(Path(__file__).with_name("standin_slurm"))
    return StandinSlurm(root)


@pytest.fixture
def run(tmp_path: Path, standin_slurm: StandinSlurm) -> Iterator[Run]:
    path = f"{standin_slurm.root / 'bin'}:{os.environ['PATH']}"
    run = make_run(tmp_path / "run", PATH=path, STANDIN_SLURM=str(standin_slurm.root))
    yield run
    run.end_all()


BATCH_SCRIPT = """\
#!/bin/bash
# A tiny stand-in for the batch scripts: it shows itself, says what it got, and does what its attempt says.
run=$1 attempt=$1/$2
started=$run/spool/started/$SLURM_JOB_NAME.${SLURM_RESTART_COUNT:-0}
printf '%s\\n' "job_id=$SLURM_JOB_ID" "node=$SLURMD_NODENAME" "time=$(date +%s)" >"$started.tmp"
mv "$started.tmp" "$started"
printf '%s\\n' "$@" >"$attempt/arguments"
env >"$attempt/environment"
date +%s.%N >"$attempt/begun"
[ ! -e "$attempt/todo.sh" ] || . "$attempt/todo.sh"
date +%s.%N >"$attempt/ended"
"""


@pytest.fixture(scope="session")
def slurm() -> None:
    """Skip unless a real Slurm answers."""
    if shutil.which("sinfo") is None:
        pytest.skip("no sinfo here: install Slurm, on a throw-away Debian 12 with ci/cluster/install.sh")
    try:
        answer = subprocess.run(["sinfo", "-h"], capture_output=True, text=True, timeout=20)
    except subprocess.TimeoutExpired:
        pytest.skip("sinfo does not answer within 20 s: start a cluster with ci/cluster/up.sh")
    if answer.returncode:
        words = answer.stderr.strip().rpartition("\n")[2]
        pytest.skip(f"sinfo does not answer ({words}): start a cluster with ci/cluster/up.sh")


@pytest.fixture
def cluster_run(slurm: None, tmp_path: Path) -> Iterator[Run]:
    """A run with an unpleasant path, served by the real Slurm; the jobs of it that are left are cancelled."""
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    for template in ("train", "evaluate", "fused"):
        (scripts / f"{template}.sbatch").write_text(BATCH_SCRIPT)
    run = make_run(tmp_path / 'it\'s 100% a "run" $HOME', MLIPILOT_SBATCH_DIR=str(scripts))
    yield run
    run.end_all()
    ids = [read_fields(path).get("job_id", "") for path in run.spool.glob("receipts/mlp-*")]
    if numbers := [number for number in ids if number.isdigit()]:
        subprocess.run(["scancel", *numbers], check=False)
