"""Labelling as an array of Slurm tasks, on the cluster of ci/cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.end_to_end.cluster import PATIENCE_S, needs_slurm
from tests.end_to_end.conftest import REPOSITORY

TINY = ["qm7_b3lyp", "--set", "source=embedded", "--set", "molecules=[water, methane]", "--set", "shards=2"]
TINY += ["--set", "normal_mode=0", "--set", "rattled=4"]


@needs_slurm
@pytest.mark.slow
@pytest.mark.skipif(find_spec("pyscf") is None, reason="needs the extra qm")
def test_shards_are_tasks_of_an_array_and_the_build_merges_them(tmp_path: Path) -> None:
    mlipilot = tmp_path / "mlipilot"
    mlipilot.write_text(f'#!/bin/sh\nexec {sys.executable} -m mlipilot "$@"\n')
    mlipilot.chmod(0o755)
    out, work = tmp_path / "data", tmp_path / "data.labels"

    def build(*more: str) -> None:
        command = [str(mlipilot), "data", "build", *TINY, "--output", str(out), *more]
        subprocess.run(command, check=True, cwd=REPOSITORY, capture_output=True)

    build("--lay-out")
    script = REPOSITORY / "sbatch" / "label.sbatch"
    submit = [
        "sbatch",
        "--wait",
        "--array=0-1",
        "--mem=2G",
        f"--output={tmp_path}/%a.log",
        str(script),
        str(work),
    ]
    environment = os.environ | {"MLIPILOT": str(mlipilot)}
    subprocess.run(submit, check=True, cwd=REPOSITORY, env=environment, timeout=PATIENCE_S)
    assert sorted(path.parent.name for path in work.glob("shards/*/manifest-sha256.txt")) == ["0000", "0001"]
    before = {path: path.stat().st_mtime_ns for path in work.glob("shards/*/*")}
    build()
    assert {path: path.stat().st_mtime_ns for path in work.glob("shards/*/*")} == before
    outcomes = json.loads((out / "provenance.json").read_text())["outcomes"]
    assert outcomes == {"default": 2 * 5 + 5}
