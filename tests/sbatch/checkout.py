"""A clone of the batch scripts, in which a job of Slurm carries a lineage; all around it are stand-ins."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from mlipilot.audit.events import Event
from mlipilot.audit.ledger import Ledger
from tests.sbatch.conftest import REPOSITORY, StandinSlurm

IMAGE = b"a SIF as it was built"
_CONTROLLER = "env | sed -nE 's/^(APPTAINER|SINGULARITY)ENV_//p' >told"


def as_ledger(*events: Event) -> str:
    """The lines of a ledger of these events."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger.jsonl")
        for event in events:
            ledger.append(event)
        return ledger.path.read_text()


class Checkout:
    """Job 17_0 of cluster alps is to carry lineage 0 of `runs/tiny`."""

    submitter = 'touch "$1/served"\n'
    """What stands for submitter.sh, but where a campaign's own file is submitted."""

    def __init__(self, root: Path, slurm: StandinSlurm) -> None:
        self.root, self.slurm, self.apptainer = root, slurm, root / "standin_apptainer"
        self.run, self.lineage = root / "runs" / "tiny", root / "runs" / "tiny" / "lineage-0"
        for folder in ("sbatch", "campaigns"):
            shutil.copytree(REPOSITORY / folder, root / folder)
        self.image = root / "containers" / "mlipilot-cpu.sif"
        self.image.parent.mkdir()
        self.image.write_bytes(IMAGE)
        self.write_program("mlipilot", _CONTROLLER)
        standin = REPOSITORY / "tests" / "sbatch" / "standin_apptainer"
        (self.apptainer / "bin" / "apptainer").symlink_to(standin)
        slurm.put_job("17_0", "mlipilot", "RUNNING")

    def write_program(self, name: str, script: str) -> None:
        """Have a program, in the image or on the host, be some lines of bash."""
        path = self.apptainer / "bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(0o755)

    def begin(self, run: str = "runs/tiny", *options: str, **environment: str) -> subprocess.Popen[str]:
        """`campaign.sh` on its way; its submitter only shows that it came."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "MLIPILOT_"))}
        settings = {"MLIPILOT_IMAGE": str(self.image), "MLIPILOT_POLL_S": "1"}
        (self.root / "sbatch" / "submitter.sh").write_text(self.submitter)
        words = ["sbatch/campaign.sh", "tiny.sbatch", run, "tiny.yaml", *options]
        return self._begin(words, inherited | settings, environment)

    def submit(
        self, script: str, environment: dict[str, str], **job: str
    ) -> subprocess.CompletedProcess[str]:
        """What came of a campaign's file, as Slurm starts it, with nothing else in its environment."""
        words = [f"campaigns/{script}"]
        campaign = self._begin(words, environment, {"SLURM_SUBMIT_DIR": str(self.root)} | job)
        said, _ = campaign.communicate(timeout=60)
        return subprocess.CompletedProcess(campaign.args, campaign.returncode, said)

    def _begin(
        self, words: list[str], inherited: dict[str, str], environment: dict[str, str]
    ) -> subprocess.Popen[str]:
        job = {"SLURM_JOB_ID": "18", "SLURM_ARRAY_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "0"}
        job["SLURM_CLUSTER_NAME"] = "alps"
        path = f"{self.slurm.root / 'bin'}:{self.apptainer / 'bin'}:{os.environ['PATH']}"
        (runtime := self.root / "runtime").mkdir(mode=0o700, exist_ok=True)
        standins = {
            "XDG_RUNTIME_DIR": str(runtime),
            "STANDIN_SLURM": str(self.slurm.root),
            "STANDIN_APPTAINER": str(self.apptainer),
        }
        return subprocess.Popen(
            ["bash", *words],
            cwd=self.root,
            env=inherited | job | standins | {"PATH": path} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def start(
        self, run: str = "runs/tiny", *options: str, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """What came of the batch script."""
        campaign = self.begin(run, *options, **environment)
        said, _ = campaign.communicate(timeout=60)
        return subprocess.CompletedProcess(campaign.args, campaign.returncode, said)

    def told(self) -> dict[str, str]:
        """The environment that the controller was given; empty when none was started."""
        path = self.apptainer / "told"
        lines = path.read_text().splitlines() if path.exists() else []
        return dict(line.split("=", 1) for line in lines)

    def words(self) -> list[str]:
        """The command line that the controller was given, after `mlipilot`."""
        (call,) = (self.apptainer / "calls").read_text().splitlines()
        words = call.split("\x1f")
        return words[words.index("mlipilot") + 1 :]
