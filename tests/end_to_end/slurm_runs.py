"""What the tests of runs on Slurm share: the submitter beside a run, and what a ledger says of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

from mlipilot.audit.events.proposing import Proposed
from mlipilot.audit.events.running import Verdict
from mlipilot.audit.ledger import read_ledger
from mlipilot.controller.state import State, replay
from mlipilot.paths import RunPaths
from tests.end_to_end.conftest import REPOSITORY

# The site's settings of a submitter on the cluster of ci/cluster, and of one whose jobs run on the host.
SETTINGS = {"MLIPILOT_POLL_S": "1", "MLIPILOT_GPU_PARTITION": "gpu"}
WITHOUT_IMAGE = SETTINGS | {"MLIPILOT_PYTHON": sys.executable, "MLIPILOT_IMAGE": ""}


class Submitter:
    """The submitter of a run, as it would serve on a login node."""

    def __init__(self, run: Path, **environment: str) -> None:
        run.mkdir(parents=True, exist_ok=True)
        self.run = run
        self.environment = os.environ | WITHOUT_IMAGE | environment

    def __enter__(self) -> Submitter:
        with (self.run.parent / "submitter.log").open("ab") as log:
            self.process = subprocess.Popen(
                ["bash", str(REPOSITORY / "sbatch" / "submitter.sh"), str(self.run)],
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)

    def kill_and_start_again(self) -> None:
        """What it had in hand, such as an sbatch that has not answered, goes on without it."""
        self.process.kill()
        self.process.wait()
        self.__enter__()


def state_of(run: RunPaths, lineage: int = 0) -> State:
    """Where a lineage stands, by its ledger."""
    return replay(read_ledger(run.lineage(lineage).ledger))


def told(run: RunPaths) -> list[tuple[str, Any]]:
    """What a ledger says, without times, costs, the scheduler's own words and what was done again."""
    dropped = {"job_finished", "exchange", "resumed", "ledger_repaired"}
    said: list[tuple[str, Any]] = []
    for record in read_ledger(run.lineage(0).ledger):
        match record.event:
            case Verdict() as judged:
                said.append((judged.kind, (judged.iteration, judged.verdict, judged.violation)))
            case Proposed() as proposed:
                said.append((proposed.kind, (proposed.title, proposed.recipe_digest)))
            case event if event.kind not in dropped and getattr(event, "attempt", 1) == 1:
                said.append((event.kind, getattr(event, "reason", None)))
    return said


def weights(run: RunPaths) -> dict[str, bytes]:
    """The trained weights by iteration and seed."""
    found = sorted(run.root.glob("lineage-0/iterations/*/seed-*/train/*/output/model/*.safetensors"))
    return {"/".join(path.relative_to(run.root).parts[2:4]): path.read_bytes() for path in found}
