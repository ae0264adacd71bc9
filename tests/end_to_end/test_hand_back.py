"""Controllers on a real Slurm that hand their cores back while jobs run; the container is a stand-in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mlipilot.audit.ledger import LedgerError
from mlipilot.paths import RunPaths
from tests.end_to_end.cluster import needs_slurm
from tests.end_to_end.conftest import REPOSITORY, command, mlipilot, with_data, write_campaign
from tests.end_to_end.slurm_runs import SETTINGS, Submitter, state_of
from tests.sbatch.conftest import make_standin
from tests.sbatch.test_successor_cluster import Site
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, needs_slurm]
PATIENCE_S = 300
# The toolkit of this checkout, told what the image's would be.
TOOLKIT = f"""\
cd ..
while IFS= read -r line; do export "${{line?}}"; done < <(env | sed -nE 's/^APPTAINERENV_//p')
export PYTHONPATH={REPOSITORY}
exec {sys.executable} -m mlipilot "$@"
"""


# The stand-in, but for the directory in which it is to be.
APPTAINER = f"""\
for word; do [ "${{before:-}}" != --pwd ] || export STANDIN_PWD=$word; before=$word; done
exec {REPOSITORY}/tests/sbatch/standin_apptainer "$@"
"""
PYTHON = f"""\
cd "$STANDIN_PWD" || exit
export PYTHONPATH={REPOSITORY}
exec {sys.executable} "$@"
"""
JOB = """\
until [[ $SLURM_JOB_NAME != *.t.* || -e $STANDIN_APPTAINER/go${SLURM_JOB_NAME##*.s} ]]; do sleep 0.2; done
exec bash "$1/spool/job.sh" "$1" "$2"
"""


class LongJobs(Site):
    """A campaign of two seeds whose trainings last until the test lets them go."""

    def __init__(self, root: Path, data: Path, **changes: Any) -> None:
        super().__init__(root, make_standin(root.with_name("standin")))
        spec: dict[str, Any] = {"seeds": [1, 2], "budget": {"iterations": 0, "optimizer_steps": 4}} | changes
        write_campaign(root / "campaigns", profiles={"smoke": {"description": "tiny"}}, **spec)
        script = root / "campaigns" / "mine.sbatch"
        script.write_text(script.read_text().replace("campaigns/cu_emt.yaml", "campaigns/tiny.yaml"))
        with_data(data, root)
        self.paths = RunPaths(self.run)
        self.write_program("mlipilot", TOOLKIT)
        self.write_program("python", PYTHON)
        (self.apptainer / "bin" / "apptainer").unlink()
        self.write_program("apptainer", APPTAINER)
        for kind in ("train", "evaluate"):
            told = f"STANDIN_APPTAINER={self.apptainer} PATH={self.apptainer}/bin:$PATH"
            (root / "sbatch" / f"{kind}.sbatch").write_text(f"#!/bin/bash\nexport {told}\n{JOB}")

    def begin_campaign(self, *options: str, **environment: str) -> str:
        return self.sbatch("--mem=1G", *options, **SETTINGS | {"MLIPILOT_HAND_BACK_S": "2"} | environment)

    def let_go(self, seed: int) -> None:
        """Have the first attempt at a seed's training go on."""
        (self.apptainer / f"go{seed}.t.a1").touch()

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(mlipilot("status", self.run, "--json", cwd=self.root).stdout)
        return found

    def handed_back(self) -> int:
        """How often a controller has done so."""
        return self.log().count("handed back: job ")

    def jobs(self) -> list[str]:
        """The numbers of the lineages' jobs that Slurm has not done with."""
        names = {path.name for path in (self.run / "spool").glob("requests/*")}
        listed = subprocess.run(["squeue", "-h", "-o", "%j %i"], capture_output=True, text=True, check=True)
        return [line.split()[1] for line in listed.stdout.splitlines() if line.split()[0] in names]

    def end_all(self) -> None:
        while left := [number for number, _ in self.queue()] + self.jobs():
            subprocess.run(["scancel", "--quiet", *left], check=False)
            time.sleep(0.5)

    def is_over(self, lineage: int = 0) -> bool:
        try:
            return state_of(self.paths, lineage).finished is not None
        except LedgerError:
            return False


@pytest.fixture
def long_jobs(tiny_data: Path, tmp_path: Path) -> Iterator[LongJobs]:
    site = LongJobs(tmp_path / "site", tiny_data)
    yield site
    site.end_all()


def test_no_core_is_held_while_trainings_run(long_jobs: LongJobs) -> None:
    long_jobs.begin_campaign()
    wait_until(lambda: long_jobs.handed_back() == 1, PATIENCE_S)
    wait_until(lambda: [state for _, state in long_jobs.queue()] == ["PENDING"], 60)
    found = long_jobs.status()
    (successor,) = long_jobs.waiting()
    number = successor.partition("_")[0]
    assert (found["phase"], found["controller"]) == ("waiting", None)
    assert found["handed_back"]["successor"] == number
    assert f"no core is held: job {number} goes on when one of its jobs" in found["handed_back"]["words"][0]
    long_jobs.let_go(1)
    wait_until(lambda: long_jobs.handed_back() >= 2, PATIENCE_S)
    assert not long_jobs.is_over()
    long_jobs.let_go(2)
    wait_until(long_jobs.is_over, PATIENCE_S)
    wait_until(lambda: not long_jobs.queue(), PATIENCE_S)
    assert state_of(long_jobs.paths).incumbent == 0
    mlipilot("verify", long_jobs.run, cwd=long_jobs.root)


def is_waited_for(site: LongJobs, times: int) -> bool:
    """Whether a core was handed back for the last time, and Slurm has done with the job that held it."""
    return site.handed_back() == times and {state for _, state in site.queue()} == {"PENDING"}


@pytest.fixture
def one_job(tiny_data: Path, tmp_path: Path) -> Iterator[LongJobs]:
    """A lineage of one seed, whose controller has handed its core back."""
    site = LongJobs(tmp_path / "site", tiny_data, seeds=[1])
    try:
        site.begin_campaign()
        wait_until(lambda: is_waited_for(site, 1), PATIENCE_S)
        yield site
    finally:
        site.end_all()


def test_a_successor_that_somebody_cancels_is_missed_and_whoever_submits_again_goes_on(
    one_job: LongJobs,
) -> None:
    (first,) = one_job.waiting()
    subprocess.run(["scancel", first.partition("_")[0]], check=True)
    found = one_job.status()
    assert found["phase"] == "interrupted"
    (words,) = found["handed_back"]["words"]
    assert "is not in Slurm's queue any more\n  mend: `sbatch` of its campaign's sbatch file goes on" in words
    assert "nobody holds lineage 0" in mlipilot("unlock", one_job.run, cwd=one_job.root).stdout

    one_job.begin_campaign()
    wait_until(lambda: is_waited_for(one_job, 2), PATIENCE_S)
    one_job.begin_campaign(MLIPILOT_HAND_BACK_S="0")  # though nothing is wrong
    wait_until(lambda: one_job.log().count("resumed at iteration 0") == 2, PATIENCE_S)
    one_job.let_go(1)
    wait_until(lambda: "carries lineage 0 of" in one_job.log(), PATIENCE_S)  # who waited for the job
    wait_until(one_job.is_over, PATIENCE_S)
    wait_until(lambda: not one_job.queue(), PATIENCE_S)
    assert len(state_of(one_job.paths).jobs) == 3 and one_job.log().count("baseline\n") == 1


def test_a_lineage_that_is_cancelled_while_nobody_carries_it_stays_so(one_job: LongJobs) -> None:
    done = mlipilot("cancel", one_job.run, cwd=one_job.root)
    assert "cancelled; " in done.stdout and one_job.status()["phase"] == "cancelled"
    wait_until(lambda: not one_job.jobs() and not one_job.queue(), PATIENCE_S)
    assert "lineage 0 was cancelled; " in one_job.log()
    assert one_job.handed_back() == 1 and not list(one_job.run.glob("spool/successors/*"))


@pytest.mark.sweep
def test_the_successor_leaves_whoever_resumes_by_hand_in_peace(one_job: LongJobs) -> None:
    inside = {
        "MLIPILOT_IMAGE_SHA256": (one_job.run / "image.sha256").read_text().strip(),
        "MLIPILOT_IMAGE": str(one_job.image),
        "MLIPILOT_SBATCH_DIR": str(one_job.root / "sbatch"),
    }
    with Submitter(one_job.run, **inside), (one_job.root / "resumed").open("w") as said:
        resumed = subprocess.Popen(
            command(["resume", one_job.run]), cwd=one_job.root, env=os.environ | inside, stdout=said
        )
        wait_until(lambda: one_job.status()["phase"] == "running", PATIENCE_S)
        one_job.let_go(1)
        wait_until(lambda: "another controller holds this run" in one_job.log(), PATIENCE_S)
        assert resumed.wait(PATIENCE_S) == 0
    wait_until(lambda: not one_job.queue(), PATIENCE_S)
    assert one_job.is_over() and one_job.handed_back() == 1


@pytest.mark.sweep
def test_two_lineages_hand_back_by_themselves(tiny_data: Path, tmp_path: Path) -> None:
    site = LongJobs(tmp_path / "site", tiny_data, seeds=[1])
    try:
        site.begin_campaign("--array=0-1")
        wait_until(lambda: is_waited_for(site, 2), PATIENCE_S)
        found = site.status()
        assert [lineage["phase"] for lineage in found["lineages"]] == ["waiting", "waiting"]
        names = [path.name for path in site.run.glob("spool/requests/*.t.a1")]
        for name in names:
            (site.apptainer / f"go{name.rpartition('.s')[2]}").touch()
        wait_until(lambda: site.is_over(0) and site.is_over(1), PATIENCE_S)
        wait_until(lambda: not site.queue(), PATIENCE_S)
        mlipilot("verify", site.run, cwd=site.root)
    finally:
        site.end_all()
