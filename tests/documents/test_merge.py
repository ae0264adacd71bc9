"""The README's words for several clusters, on two real tiny runs. A cluster is a folder of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mlipilot.controller.verification import verify_run
from mlipilot.paths import RunPaths
from tests.documents.blocks import block
from tests.end_to_end.conftest import write_campaign

pytestmark = pytest.mark.slow
# It stands in for sbatch: the first task of the array runs here and now, as a local process.
STAND_IN_SBATCH = """#!/bin/bash
lineage=${1#--array=} && lineage=${lineage%%-*}
exec mlipilot run "${2%.sbatch}.yaml" --go-on --lineage "$lineage"
"""


@pytest.fixture
def type_on(tmp_path: Path) -> Callable[[str, str], str]:
    """Types a command on a cluster, where other clusters' names are folders; returns what it says."""
    if shutil.which("rsync") is None:
        pytest.skip("there is no rsync here")
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "sbatch").write_text(STAND_IN_SBATCH)
    (programs / "sbatch").chmod(0o755)
    for cluster in ("clusterA", "clusterB"):
        campaigns = tmp_path / cluster / "mlipilot" / "campaigns"
        campaigns.mkdir(parents=True)
        budget = {"iterations": 0, "optimizer_steps": 12}
        write_campaign(campaigns, name="cu_emt", seeds=[1], budget=budget).rename(campaigns / "cu_emt.yaml")

    def type_it(cluster: str, line: str) -> str:
        for each in ("clusterA", "clusterB"):
            line = line.replace(f"{each}:", f"{tmp_path / each}/")
        path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=tmp_path / cluster / "mlipilot",
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return type_it


def test_two_clusters_are_one_run(tmp_path: Path, type_on: Callable[[str, str], str]) -> None:
    commands = block("README.md", "sbatch --array=0-3")
    type_on("clusterA", commands.take("sbatch --array=0-3 campaigns/cu_emt.sbatch"))
    type_on("clusterB", commands.take("mkdir -p runs && rsync -a clusterA:mlipilot/runs/cu_emt/"))
    assert "building the data set" not in type_on("clusterB", commands.take("sbatch --array=4-7"))
    type_on("clusterA", commands.take("rsync -a clusterB:mlipilot/runs/cu_emt/ runs/from_B/"))
    said = type_on("clusterA", commands.take("mlipilot merge runs/cu_emt runs/from_B"))
    assert "lineage 4 of" in said and "has lineages 0, 4" in said
    assert "every verdict recomputed" in type_on("clusterA", commands.take("mlipilot verify runs/cu_emt"))
    commands.end()
    run = RunPaths(tmp_path / "clusterA" / "mlipilot" / "runs" / "cu_emt")
    said = type_on("clusterA", "mlipilot status runs/cu_emt && mlipilot report runs/cu_emt")
    assert "lineage-4: cu_emt: finished" in said
    assert "The run has 2 lineages" in run.report_md.read_text()
    assert "baseline" in type_on("clusterA", "mlipilot show runs/cu_emt 0 --lineage 4")
    assert verify_run(run).problems == []
