"""`mlipilot cancel` of jobs on a real Slurm: in seconds, and by itself where nobody serves the run.

The controller and the submitter are killed first, as by a reboot of the login node they ran on.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlipilot.controller.verification import verify_run
from mlipilot.paths import RunPaths
from tests.end_to_end.cluster import needs_slurm
from tests.end_to_end.conftest import REPOSITORY, command, mlipilot, with_data, write_campaign
from tests.end_to_end.slurm_runs import Submitter, state_of
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, needs_slurm]

SECONDS = 30.0  # most of which an interpreter needs to start where much else goes on


def _says(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout


class Abandoned:
    """A run whose jobs are in the queue, and whose controller and submitter were killed."""

    def __init__(self, root: Path, data: Path, **environment: str) -> None:
        with_data(data, root)
        budget = {"iterations": 0, "optimizer_steps": 100_000}
        campaign = write_campaign(root, seeds=[1, 2], budget=budget, jobs={"max_in_flight": 2})
        self.root, self.run = root, RunPaths(root / "runs" / "tiny")
        with Submitter(self.run.root, **environment) as submitter:
            controller = subprocess.Popen(
                command(["run", campaign, "--set", "jobs.backend=slurm"]),
                cwd=root,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            try:
                wait_until(self.is_ready, 240)
            finally:
                controller.kill()
                controller.wait()
            submitter.process.kill()

    def is_ready(self) -> bool:
        return len(self.states()) == 4

    @property
    def names(self) -> list[str]:
        return sorted(path.name for path in (self.run.spool / "requests").glob("mlp-*"))

    def states(self) -> dict[str, str]:
        """What Slurm says of the jobs that bear a name of the run."""
        lines = _says("squeue", "-h", "-t", "all", "-o", "%T %j").splitlines()
        return {name: state for state, name in (line.split(" ", 1) for line in lines) if name in self.names}

    def cancel(self, status: int = 0, seconds: float = SECONDS, **environment: str) -> str:
        """What the verb says; it must end in time."""
        begun = time.monotonic()
        done = mlipilot("cancel", self.run.root, cwd=self.root, check=status, **environment)
        took_s = time.monotonic() - begun
        assert took_s < seconds, f"{took_s:.0f} s:\n{done.stdout}"
        return done.stdout + done.stderr

    def end(self) -> None:
        for name in self.names:
            subprocess.run(["scancel", f"--name={name}"], check=False)


@contextlib.contextmanager
def abandoned(root: Path, data: Path, **environment: str) -> Iterator[Abandoned]:
    run = Abandoned(root, data, **environment)
    try:
        yield run
    finally:
        run.end()


def _is_cancelled_for_good(run: Abandoned) -> None:
    """The ledger says so, nothing is left in the queue, and a later submitter submits nothing."""
    state = state_of(run.run)
    assert state.cancelled and not state.in_flight()
    assert {a.outcome for found in state.jobs.values() for a in found} == {"cancelled"}
    names, before = run.names, run.states()
    assert set(before.values()) == {"CANCELLED"}
    with Submitter(run.run.root):
        wait_until(lambda: all((run.run.spool / "receipts" / name).exists() for name in names))
    assert run.names == names and run.states() == before
    assert verify_run(run.run).problems == []


def test_held_jobs_end_at_once_without_a_submitter(tiny_data: Path, tmp_path: Path) -> None:
    with abandoned(tmp_path, tiny_data, MLIPILOT_SBATCH_EXTRA="--hold") as run:
        # Something like a request that nobody has submitted yet.
        lost = next(name for name in run.names if ".e." in name)
        subprocess.run(["scancel", f"--name={lost}"], check=True)
        stranger = ["--hold", "--job-name=mlp-other", "-o", "/dev/null", "--wrap", "true"]
        other = _says("sbatch", "--parsable", *stranger)
        try:
            said = run.cancel()
            assert "mlp-other PENDING" in _says("squeue", "-h", "-j", other.strip(), "-o", "%j %T")
        finally:
            subprocess.run(["scancel", other.strip()], check=True)
        assert "scancel" in said and "(PENDING)" in said and "cancelled" in said
        _is_cancelled_for_good(run)


def test_running_jobs_end_in_seconds_and_what_they_did_is_sealed(tiny_data: Path, tmp_path: Path) -> None:
    with abandoned(tmp_path, tiny_data) as run:
        candidate = run.run.lineage(0).iteration(0)
        trainings = [candidate / f"seed-{seed}/train/attempt-1" for seed in (1, 2)]
        wait_until(lambda: any((attempt / "stdout.log").exists() for attempt in trainings), 240)
        said = run.cancel(seconds=2 * SECONDS)
        assert "(RUNNING)" in said
        assert any((attempt / "result.json").exists() for attempt in trainings)
        _is_cancelled_for_good(run)


def test_without_slurm_and_submitter_it_says_at_once_what_to_type(tiny_data: Path, tmp_path: Path) -> None:
    """As in the image on a login node. What is typed ends the jobs, and `resume` finds them ended."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "git").symlink_to(shutil.which("git") or "/bin/true")
    with abandoned(tmp_path / "run", tiny_data, MLIPILOT_SBATCH_EXTRA="--hold") as run:
        beat = run.run.spool / "submitter"
        os.utime(beat, (time.time() - 120, time.time() - 120))
        said = run.cancel(status=75, seconds=SECONDS, PATH=str(programs))
        assert "a submitter that serves the run ends it" in said
        typed = said.partition("can do so at once")[2].partition("`")[2].partition("`")[0]
        assert typed.startswith("scancel ")
        assert set(run.states().values()) == {"PENDING"}
        assert state_of(run.run).cancelled
        subprocess.run(["bash", "-c", typed], check=True)
        assert {state for name, state in run.states().items() if ".t." in name} == {"CANCELLED"}


IN_THE_IMAGE = f"""\
#!/bin/bash
until [ "$1" = mlipilot ]; do shift; done
MLIPILOT_HOST=$APPTAINERENV_MLIPILOT_HOST PATH=/nowhere PYTHONPATH={REPOSITORY} exec {sys.executable} -m "$@"
"""


def test_the_verb_in_the_image_ends_them_by_way_of_the_host(tiny_data: Path, tmp_path: Path) -> None:
    """What runs in the image has no command of Slurm's; a stand-in starts it."""
    (tools := tmp_path / "tools").mkdir()
    (tools / "apptainer").write_text(IN_THE_IMAGE)
    (tools / "apptainer").chmod(0o755)
    (image := tmp_path / "an.sif").touch()
    site = {"PATH": f"{tools}:{os.environ['PATH']}", "MLIPILOT_IMAGE": str(image)}
    with abandoned(tmp_path, tiny_data, MLIPILOT_SBATCH_EXTRA="--hold") as run:
        done = subprocess.run(
            [REPOSITORY / "sbatch" / "mlipilot", "cancel", run.run.root],
            cwd=tmp_path,
            env=os.environ | site,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0 and "scancel" in done.stdout + done.stderr, done
        assert state_of(run.run).cancelled and set(run.states().values()) == {"CANCELLED"}
