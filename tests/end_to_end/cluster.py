"""A real Slurm and a real image, where the machine has them, and a user's checkout on that cluster."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlipilot.paths import RunPaths
from tests.end_to_end.conftest import REPOSITORY, write_campaign
from tests.end_to_end.slurm_runs import SETTINGS


def _cluster_answers() -> bool:
    try:
        return subprocess.run(["sinfo", "-h"], capture_output=True, timeout=10, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _image() -> Path | None:
    name = os.environ.get("MLIPILOT_TEST_IMAGE")
    return Path(name).resolve() if name and Path(name).is_file() and shutil.which("apptainer") else None


IMAGE = _image()
needs_slurm = pytest.mark.skipif(
    not _cluster_answers(), reason="no Slurm answers here: ci/cluster/install.sh and up.sh give one"
)
needs_image = pytest.mark.skipif(
    IMAGE is None, reason="MLIPILOT_TEST_IMAGE names no image, or Apptainer is missing"
)
PATIENCE_S = 600  # with machines on which much else goes on


class Site:
    """A checkout as users have it: the repository's batch scripts, and `campaigns/tiny` of the test's own."""

    def __init__(self, root: Path, lineages: int = 1, data: Path | None = None, **changes: Any) -> None:
        """`data`: a data set that another run has built; `changes` as of `write_campaign`."""
        self.root, self.run = root, RunPaths(root / "runs" / "tiny")
        self.name = f"mlipilot-{secrets.token_hex(4)}"
        for folder in ("sbatch", "campaigns"):
            shutil.copytree(REPOSITORY / folder, root / folder)
        write_campaign(root / "campaigns", profiles={"smoke": {"description": "tiny"}}, **changes)
        script = (root / "campaigns" / "cu_emt.sbatch").read_text()
        for theirs, ours in {
            "campaigns/cu_emt.sbatch": "campaigns/tiny.sbatch",
            "campaigns/cu_emt.yaml": "campaigns/tiny.yaml",
            "--job-name=mlipilot-cu_emt": f"--job-name={self.name}",
            "--mem=4G": "--mem=1G",  # of the 64 that the node of ci/cluster has for all tests
            "--array=0-0%1": f"--array=0-{lineages - 1}%{lineages}",
            "mlipilot-cu_emt-%A": f"{self.name}-%A",
        }.items():
            assert theirs in script
            script = script.replace(theirs, ours)
        (root / "campaigns" / "tiny.sbatch").write_text(script)
        if data is not None:
            shutil.copytree(data, self.run.data)

    def sbatch(self, **environment: str) -> str:
        """`sbatch campaigns/tiny.sbatch`; the job's number."""
        told = SETTINGS | {"MLIPILOT_IMAGE": str(IMAGE), "MLIPILOT_RUN": "runs/tiny"} | environment
        command = ["sbatch", "--parsable", "campaigns/tiny.sbatch"]
        done = subprocess.run(
            command, cwd=self.root, env=os.environ | told, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def queue(self) -> list[str]:
        """What of this run Slurm has not done with: controllers, successors, jobs."""
        listed = subprocess.run(
            ["squeue", "-h", "-r", "-o", "%j %i %T"], capture_output=True, text=True, check=True
        )
        names = {path.name for path in self.run.spool.glob("requests/*")} | {self.name}
        return [line for line in listed.stdout.splitlines() if line.split()[0] in names]

    def wait_until(self, what: Callable[[], object], seconds: float = PATIENCE_S) -> None:
        """Wait while the run goes on."""
        deadline = time.monotonic() + seconds
        while not what():
            assert time.monotonic() < deadline and self.queue(), self.said()
            time.sleep(0.5)

    def wait_for_the_end(self, seconds: float = PATIENCE_S) -> None:
        """Wait until Slurm has done with all of the run."""
        deadline = time.monotonic() + seconds
        while self.queue():
            assert time.monotonic() < deadline, self.said()
            time.sleep(1)

    def logs(self) -> list[Path]:
        """One file a controller, in the order of their starts."""
        return sorted(self.root.glob(f"{self.name}-*.log"))

    def said(self) -> str:
        """What controllers and submitters said."""
        return "\n".join(path.read_text() for path in self.logs())

    def left_running(self, seconds: float = 20) -> list[str]:
        """What `processes` still says after a while: Slurm drops a job before its last shell has gone."""
        deadline = time.monotonic() + seconds
        while (found := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.5)
        return found

    def processes(self) -> list[str]:
        """Command lines of processes on this machine that name the run."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):  # it ended meanwhile
                found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        return [line for line in found if str(self.run.root) in line]

    def end_all(self) -> None:
        """Have Slurm end whatever is left."""
        while left := self.queue():
            numbers = [line.split()[1] for line in left]
            subprocess.run(["scancel", "--quiet", *numbers], check=False)
            time.sleep(1)
