"""A controller that is killed before any of its writes: the next one goes on as if nothing had been."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlipilot.controller.verification import verify_run
from mlipilot.paths import RunPaths
from tests.end_to_end import killed_at
from tests.end_to_end.conftest import mlipilot, with_data, write_campaign
from tests.end_to_end.slurm_runs import told
from tests.end_to_end.villain import PILOT, Candidate, villain

SHARDS = 4


def _killed(run: RunPaths, write: int, url: str) -> bool:
    """Whether a resumed controller got as far as its write of that number."""
    command = [sys.executable, killed_at.__file__, str(run.root), str(write), "resume", str(run.root)]
    environment = os.environ | {"OPENAI_BASE_URL": url}
    done = subprocess.run(
        command,
        cwd=run.root.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stdout + done.stderr
    return done.returncode != 0


def _until_the_baseline_is_judged(campaign: Path, run: RunPaths, url: str) -> None:
    command = [sys.executable, "-m", "mlipilot", "run", str(campaign)]
    with subprocess.Popen(command, cwd=campaign.parent, env=os.environ | {"OPENAI_BASE_URL": url}) as process:
        ledger = run.lineage(0).ledger
        while not ledger.exists() or '"kind":"verdict"' not in ledger.read_text():
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()


@pytest.fixture
def begun(tiny_data: Path, tmp_path: Path) -> Iterator[tuple[RunPaths, str]]:
    """A run whose baseline is judged, and the address of its pilot, which proposes what crashes."""
    with_data(tiny_data, tmp_path)
    campaign = write_campaign(
        tmp_path, pilot=PILOT, seeds=[1], budget={"iterations": 1, "optimizer_steps": 3}
    )
    run = RunPaths(tmp_path / "runs" / "tiny")
    candidate = Candidate("crash", {"train.py": "raise SystemExit('no luck')"})
    with villain([candidate]) as url:
        _until_the_baseline_is_judged(campaign, run, url)
        yield run, url


@pytest.mark.sweep
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_it_goes_on_as_if_nothing_had_been(begun: tuple[RunPaths, str], shard: int, tmp_path: Path) -> None:
    run, url = begun
    kept = tmp_path / "kept"
    shutil.copytree(run.root, kept, symlinks=True)
    mlipilot("resume", run.root, cwd=tmp_path, OPENAI_BASE_URL=url)
    undisturbed = told(run)
    for write in range(1 + shard, 10_000, SHARDS):
        shutil.rmtree(run.root)
        shutil.copytree(kept, run.root, symlinks=True)
        was_killed = _killed(run, write, url)
        if was_killed:
            mlipilot("resume", run.root, cwd=tmp_path, OPENAI_BASE_URL=url)
        assert told(run) == undisturbed, f"killed before write {write}"
        assert verify_run(run).problems == [], f"killed before write {write}"
        if not was_killed:
            assert write > 20
            return
