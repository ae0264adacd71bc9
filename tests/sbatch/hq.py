"""HyperQueue's program for tests: the real one where it is on the PATH, else a stand-in."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from tests.sbatch.conftest import Run


def install_standin(folder: Path) -> Path:
    """The stand-in as `hq` in `folder`, by this very Python: what `env` finds may be a slow shell script."""
    _, _, text = Path(__file__).with_name("standin_hq").read_text().partition("\n")
    (program := folder / "hq").write_text(f"#!{sys.executable} -IS\n{text}")
    program.chmod(0o755)
    return program


def with_hq(run: Run) -> None:
    """Give a run's submitter and allocations a program `hq`."""
    if shutil.which("hq"):
        return
    folder = run.path.parent / "hq"
    (folder / "bin").mkdir(parents=True)
    install_standin(folder / "bin")
    run.env |= {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "STANDIN_HQ": str(folder)}
