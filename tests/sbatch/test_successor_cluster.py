"""A campaign's file on a real Slurm, in other words than it is shipped with; the container is a stand-in."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.events import event
from tests.sbatch.checkout import Checkout, as_ledger
from tests.sbatch.conftest import StandinSlurm
from tests.waiting import wait_for_text, wait_until

pytestmark = pytest.mark.cluster
# Numbers, times, what it waits for, where it runs: these may differ between a job and the next of its kind.
OF_THE_MOMENT = {
    *(
        "JobId",
        "ArrayJobId",
        "ArrayTaskId",
        "ArrayTaskThrottle",
        "Priority",
        "JobState",
        "Reason",
        "Restarts",
    ),
    *(
        "Dependency",
        "ExitCode",
        "RunTime",
        "SubmitTime",
        "EligibleTime",
        "AccrueTime",
        "StartTime",
        "EndTime",
    ),
    *("LastSchedEval", "SuspendTime", "SecsPreSuspend", "PreemptTime", "PreemptEligibleTime", "Scheduler"),
    *(
        "NodeList",
        "BatchHost",
        "AllocNode:Sid",
        "NumNodes",
        "NumTasks",
        "TRES",
        "MinCPUsNode",
        "StdErr",
        "StdOut",
    ),
}


class Site(Checkout):
    """A user's checkout, whose controllers wait for a word of the test."""

    def __init__(self, root: Path, slurm: StandinSlurm) -> None:
        super().__init__(root, slurm)
        self.name = f"mlipilot test {secrets.token_hex(4)}"
        for command in ("sbatch", "squeue", "sacct", "scancel", "scontrol"):
            (slurm.root / "bin" / command).unlink()  # the real ones are meant
        (root / "campaigns" / "cu_emt.sbatch").rename(root / "campaigns" / "mine.sbatch")
        self.write_program(
            "mlipilot", 'echo >>begun; until [ -e end ]; do sleep 0.2; done; exit "$(cat end)"'
        )

    def sbatch(self, *options: str, script: str = "campaigns/mine.sbatch", **environment: str) -> str:
        """The number of the job that a user's command has made."""
        told = {"MLIPILOT_IMAGE": str(self.image), "MLIPILOT_POLL_S": "1", "MLIPILOT_RUN": "runs/tiny"}
        told |= {"STANDIN_APPTAINER": str(self.apptainer)}
        path = f"{self.apptainer / 'bin'}:{os.environ['PATH']}"
        command = ["sbatch", "--parsable", f"--job-name={self.name}", *options, script]
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "MLIPILOT_", "SBATCH_"))}
        done = subprocess.run(
            command,
            cwd=self.root,
            env=kept | told | {"PATH": path} | environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def queue(self) -> list[tuple[str, str]]:
        """Number and state of each job of this user's that Slurm has not done with."""
        command = ["squeue", "-h", "-r", f"--name={self.name}", "-o", "%i %T"]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        return [(line.split()[0], line.split()[1]) for line in lines]

    def waiting(self) -> list[str]:
        return [number for number, state in self.queue() if state == "PENDING"]

    @property
    def starts(self) -> int:
        path = self.apptainer / "begun"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def end(self, status: int = 0) -> None:
        (self.apptainer / "end").write_text(str(status))

    def log(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.root.glob("*.log")))


@pytest.fixture
def site(slurm: None, tmp_path: Path, standin_slurm: StandinSlurm) -> Iterator[Site]:
    site = Site(tmp_path / "site", standin_slurm)
    yield site
    while left := site.queue():
        subprocess.run(["scancel", "--quiet", *(number for number, _ in left)], check=False)


def record(job: str) -> dict[str, str]:
    """What Slurm has of a job, but for what is of the moment."""
    said = subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True, check=True).stdout
    found: dict[str, str] = {}
    for line in said.splitlines():
        pairs = [line.strip()] if re.match(r" *(Command|WorkDir|Comment|Std\w+)=", line) else line.split()
        if "JobName=" in line:
            pairs = [line[line.index("JobName=") :]]
        found |= dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    return {key: value for key, value in found.items() if key not in OF_THE_MOMENT}


def both(site: Site, job: str) -> tuple[dict[str, str], dict[str, str]]:
    wait_until(lambda: site.starts == 1 and site.waiting(), 60)
    return record(job), record(site.waiting()[0])


def test_the_successor_is_the_users_own_job_again_whatever_that_was(site: Site) -> None:
    options = [
        "--array=2-2",
        "--time=0-05:07:00",
        "--mem=310M",
        "--nice=11",
        "--comment=of our group = A",
    ]
    options += [
        "--mail-type=END,FAIL",
        "--mail-user=ada@example.org",
        "--no-requeue",
        "--tmp=0",
        "--cpus-per-task=2",
    ]
    options += ["--output=log %% of-%A-%a.%A_%a.log", "--partition=gpu", "--gres=gpu:1"]
    job = site.sbatch(*options, SBATCH_ACCOUNT="projA", SBATCH_OPEN_MODE="truncate")
    before, after = both(site, f"{job}_2")
    assert after == before and before["TimeLimit"] == "05:07:00" and before["Comment"] == "of our group = A"
    assert before["Command"] == str(site.root / "campaigns" / "mine.sbatch")
    assert before["Account"] == "proja" == (site.run / "spool" / "account").read_text().strip()
    site.end()
    wait_until(lambda: not site.queue(), 60)
    assert (site.root / f"log % of-{job}-2.{job}_2.log").exists()


def test_sites_without_arrays_have_successors_too(site: Site) -> None:
    script = site.root / "campaigns" / "mine.sbatch"
    script.write_text("".join(x for x in script.read_text().splitlines(True) if "#SBATCH --array" not in x))
    job = site.sbatch()
    before, after = both(site, job)
    assert after == before
    first = site.queue()
    subprocess.run(["scancel", job], check=True)
    wait_until(lambda: site.starts == 2, 60)
    site.end()
    wait_until(lambda: not site.queue(), 60)
    assert len(first) == 2 and site.log().count("takes over if this one ends early") == 2


def test_a_requeue_adds_no_successor_and_none_is_left(site: Site) -> None:
    job = site.sbatch()
    wait_until(lambda: site.starts == 1 and site.waiting(), 60)
    for start in (2, 3):
        subprocess.run(["scontrol", "requeue", f"{job}_0"], check=True)
        wait_until(lambda start=start: site.starts == start, 60)  # type: ignore[misc]
        wait_until(lambda: len(site.waiting()) == 1, 30)
    site.end()
    wait_until(lambda: not site.queue(), 60)
    assert site.starts == 3, "nobody goes on after the end"


def test_a_submitter_that_is_killed_is_there_again(site: Site) -> None:
    site.submitter = 'echo $$ >>"$1/served"; exec sleep 600\n'
    (site.root / "sbatch" / "submitter.sh").write_text(site.submitter)
    site.sbatch()
    served = site.run / "served"
    wait_until(lambda: site.starts == 1)
    os.kill(int(wait_for_text(served)), 9)
    wait_until(lambda: len(served.read_text().splitlines()) == 2, 30)
    assert "the submitter ended with status 137" in site.log() and len(site.waiting()) == 1
    site.end()
    wait_until(lambda: not site.queue(), 60)


def test_a_pause_that_time_mends_is_gone_on_with_later(site: Site) -> None:
    site.lineage.mkdir(parents=True)
    site.end(75)
    (site.lineage / "ledger.jsonl").write_text(as_ledger(event("paused", mends_by_itself=True)))
    site.sbatch()
    wait_until(lambda: "goes on in 1 min" in site.log(), 60)
    (waiting,) = site.waiting()
    told = subprocess.run(
        ["scontrol", "show", "job", waiting], capture_output=True, text=True, check=True
    ).stdout
    begins = re.search(r"StartTime=(\S+)", told)
    assert begins is not None and begins[1] > time.strftime("%Y-%m-%dT%H:%M:%S"), told
