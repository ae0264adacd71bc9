"""A host that has `mlipilot` in the image alone."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.sbatch.conftest import REPOSITORY


class Host:
    """A checkout with an image, where `mlipilot` in the image is a program of the test's."""

    def __init__(self, root: Path, image: Path) -> None:
        self.root, self.work, self.image = root, root / "work", root / "containers" / "mlipilot-cpu.sif"
        shutil.copytree(REPOSITORY / "sbatch", root / "sbatch")
        for folder in (self.work, self.image.parent, root / "home"):
            folder.mkdir()
        self.image.symlink_to(image)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLIPILOT_", "APPTAINER", "SLURM_"))}
        (runtime := root / "runtime").mkdir(mode=0o700)
        own = {"HOME": str(root / "home"), "XDG_RUNTIME_DIR": str(runtime)}
        self.env = kept | own | {"APPTAINER_BIND": f"{root / 'program'}:/bin/mlipilot"}

    def begin(self, *words: str, program: str, **environment: str) -> subprocess.Popen[str]:
        (self.root / "program").write_text(f"#!/bin/bash\n{program}\n")
        (self.root / "program").chmod(0o755)
        return subprocess.Popen(
            [str(self.root / "sbatch" / "mlipilot"), *words],
            cwd=self.work,
            env=self.env | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, program: str, given: str = "", **environment: str) -> tuple[int, str, str]:
        """Exit status, output and errors."""
        process = self.begin(*words, program=program, **environment)
        said, complaint = process.communicate(given, timeout=120)
        return process.returncode, said, complaint
