"""`label.sbatch`: what a task of the array runs, and what it says when it cannot."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.sbatch.conftest import REPOSITORY

SCRIPT = REPOSITORY / "sbatch" / "label.sbatch"


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {"PATH": os.environ["PATH"]}
    return subprocess.run(
        ["bash", str(SCRIPT), *arguments], env=kept | environment, capture_output=True, text=True, check=False
    )


def test_a_task_labels_its_shard_with_one_thread(tmp_path: Path) -> None:
    standin = tmp_path / "mlipilot"
    standin.write_text('#!/bin/sh\necho "$OMP_NUM_THREADS" "$@"\n')
    standin.chmod(0o755)
    done = _run("a dir/b", MLIPILOT=str(standin), SLURM_ARRAY_TASK_ID="7")
    assert done.stdout == "1 data label a dir/b --shard 7\n"


def test_what_is_missing_is_named() -> None:
    assert "data build" in _run().stderr
    assert "sbatch --array" in _run("work").stderr
    done = _run("work", MLIPILOT="mlipilot-nowhere", SLURM_ARRAY_TASK_ID="0")
    assert done.returncode == 2
    assert "mlipilot-nowhere is not on the PATH" in done.stdout


def test_a_module_that_cannot_be_loaded_is_named_with_its_words(tmp_path: Path) -> None:
    module = tmp_path / "module"
    module.write_text('#!/bin/sh\nprintf "Lmod has detected:\\n no %s\\n" "$2" >&2\nexit 1\n')
    module.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = _run("work", PATH=path, MLIPILOT_MODULES="python/9", SLURM_ARRAY_TASK_ID="0")
    assert done.returncode == 2
    assert "the module python/9 of MLIPILOT_MODULES was not loaded on" in done.stdout
    assert done.stdout.rstrip().endswith("Lmod has detected: no python/9")
