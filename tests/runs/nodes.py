"""The node behind the stand-in of `tests/sbatch`, which only queues: here the batch scripts really run."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from tests.sbatch.conftest import make_standin

# The stand-in has one list for all that sacct is asked; the submitter's extract has columns of its own.
_SACCT = """#!/bin/bash
[[ $* != *AllocTRES* ]] || exec cat "$STANDIN_SLURM/accounts"
exec "$STANDIN_SLURM/bin/of-jobs/sacct" "$@"
"""


class Nodes:
    """One node, `node1`, that runs one job at a time and keeps accounts of them."""

    def __init__(self, root: Path, run: Path) -> None:
        """`root`: the stand-in's own folder, which is made. `run`: the run whose jobs they are."""
        self.root, self.run = root, run
        self.environment = {
            "PATH": f"{root / 'bin'}:{os.environ['PATH']}",
            "STANDIN_SLURM": str(root),
        }
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._submitted: dict[str, datetime] = {}
        self._started: dict[str, datetime] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Nodes:
        standin = make_standin(self.root)
        standin.tell("sacct", "on")
        plain, sacct = self.root / "bin/of-jobs/sacct", self.root / "bin/sacct"
        plain.parent.mkdir()
        sacct.rename(plain)
        sacct.write_text(_SACCT)
        sacct.chmod(0o755)
        (self.root / "accounts").touch()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _serve(self) -> None:
        while not self._over.wait(0.2):
            jobs = {
                path.name: path.read_text().strip().split("|")
                for path in (self.root / "jobs").iterdir()
                if path.name.isdigit()
            }
            for number, row in sorted(jobs.items(), key=lambda job: int(job[0])):
                self._submitted.setdefault(number, _now())
                if number in self._running:
                    self._look_at(number, row)
                elif row[2] == "PENDING" and not self._running and not self._waits(number, jobs):
                    self._begin(number, row)

    def _waits(self, number: str, jobs: dict[str, list[str]]) -> bool:
        behind = self.root / "behind" / number
        others = re.findall("[0-9]+", behind.read_text()) if behind.exists() else []
        return any(jobs[other][2] in ("PENDING", "RUNNING") for other in others)

    def _begin(self, number: str, row: list[str]) -> None:
        given = {"SLURM_JOB_ID": number, "SLURM_JOB_NAME": row[1], "SLURMD_NODENAME": "node1"}
        with (self.run / "spool" / "logs" / f"{row[1]}.log").open("ab") as log:
            self._running[number] = subprocess.Popen(
                ["bash", *row[5].split()], env=os.environ | given, stdout=log, stderr=log, cwd=self.run
            )
        self._started[number] = _now()
        self._tell(number, row, "RUNNING")

    def _look_at(self, number: str, row: list[str]) -> None:
        if (status := self._running[number].poll()) is None:
            return
        del self._running[number]
        state = "FAILED" if status else "COMPLETED"
        begun, ended = self._started[number], _now()
        times = [f"{time:%Y-%m-%dT%H:%M:%S}" for time in (self._submitted[number],) * 2 + (begun, ended)]
        seconds = str(int((ended - begun).total_seconds()))
        job = [number, number, row[1], state, *times, seconds, "1", seconds, "00:05.000", "", "1024M"]
        batch = [f"{number}.batch", f"{number}.batch", "batch", state, *times, seconds, "1", seconds]
        batch += ["00:05.000", "563200K", "", "cpu=1,mem=1024M,node=1", ""]
        with (self.root / "accounts").open("a") as accounts:
            accounts.write("|".join([*job, "cpu=1,mem=1024M,node=1,billing=1", str(self.run)]) + "\n")
            accounts.write("|".join(batch) + "\n")
        self._tell(number, row, state)

    def _tell(self, number: str, row: list[str], state: str) -> None:
        line = "|".join([number, row[1], state, "None", "node1", row[5]]) + "\n"
        (self.root / "jobs" / f".{number}").write_text(line)
        (self.root / "jobs" / f".{number}").rename(self.root / "jobs" / number)


def _now() -> datetime:
    return datetime.now(UTC)
