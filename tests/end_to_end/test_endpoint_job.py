"""A campaign on a real Slurm whose model is a job of its own: asked for once, used, ended."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mlipilot.paths import RunPaths
from tests.end_to_end.cluster import needs_slurm
from tests.end_to_end.conftest import mlipilot, with_data, write_campaign
from tests.end_to_end.slurm_runs import Submitter, state_of
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, needs_slurm]
STAND_IN = Path(__file__).with_name("stand_in_server.py")


def _python_with_a_standin(folder: Path) -> str:
    """A Python for the cluster's jobs, in which serving a GGUF file is the stand-in's work."""
    program, python = folder / "python", shlex.quote(sys.executable)
    standin = f'"-m mlipilot endpoint --gguf "*) exec {python} {shlex.quote(str(STAND_IN))} "$@" ;;'
    program.write_text(f'#!/bin/bash\ncase "$*" in {standin} esac\nexec {python} "$@"\n')
    program.chmod(0o755)
    return str(program)


def _queue(run: RunPaths) -> list[str]:
    """What of the run's jobs Slurm has not done with."""
    listed = subprocess.run(["squeue", "-h", "-o", "%j"], capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split() if (run.spool / "requests" / name).exists()]


def test_a_model_that_fails_once_is_started_again_used_and_ended(tiny_data: Path, tmp_path: Path) -> None:
    (model := tmp_path / "tiny.gguf").touch()
    with_data(tiny_data, tmp_path)
    campaign = write_campaign(
        tmp_path, pilot="local", seeds=[1], budget={"iterations": 1, "optimizer_steps": 8}
    )
    run = RunPaths(tmp_path / "runs" / "tiny")
    settings = {
        "MLIPILOT_ENDPOINT": str(model),
        "MLIPILOT_PYTHON": _python_with_a_standin(tmp_path),
        "MLIPILOT_SBATCH_EXTRA_ENDPOINT": "--cpus-per-task=1 --mem=500",
    }
    with Submitter(run.root, **settings):
        options = ["--set", "jobs.backend=slurm"]
        done = mlipilot("run", campaign, *options, cwd=tmp_path, MLIPILOT_ENDPOINT=str(model))
    assert "all CUDA-capable devices are busy" in done.stdout and "another job is asked for" in done.stdout
    state = state_of(run)
    assert state.finished and state.gave_up == f"I am a stand-in for {model}"
    assert state.exchanges == 1 and state.paused is None
    names = sorted(path.name[21:] for path in run.spool.glob("requests/*-endpoint.*"))
    assert names == ["endpoint.a1", "endpoint.a2"]
    wait_until(lambda: not _queue(run))
    assert not run.endpoint.exists()
    mlipilot("verify", run.root, cwd=tmp_path)
