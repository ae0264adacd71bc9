"""A core that is handed back on a real Slurm; container and controller are stand-ins."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sbatch.conftest import StandinSlurm, job_name, read_fields
from tests.sbatch.test_successor_cluster import Site
from tests.waiting import wait_for_text, wait_until

pytestmark = pytest.mark.cluster
# Start N of lineage L hands its core back once there is a file list.L.N of the jobs to be waited for.
CONTROLLER = """\
while [ "$1" != --lineage ]; do shift; done
echo >>begun && echo >>"begun.$2"
list=list.$2.$(wc -l <"begun.$2")
until [ -e end ]; do
  if [ -e "$list" ]; then
    mkdir -p ../runs/tiny/spool/waiting && cp "$list" "../runs/tiny/spool/waiting/lineage-$2" && exit 79
  fi
  sleep 0.2
done
exit "$(cat end)"
"""
UNKNOWN = "99999999"


class Jobs(Site):
    """Controllers that say when they hand back, and jobs that they are said to wait for."""

    def __init__(self, root: Path, slurm: StandinSlurm) -> None:
        super().__init__(root, slurm)
        self.write_program("mlipilot", CONTROLLER)
        self.made: list[str] = []

    def job(self, script: str = "sleep 600") -> str:
        """A job that Slurm has."""
        command = ["sbatch", "--parsable", "--mem=10M", "--output=/dev/null", f"--job-name={self.name} job"]
        done = subprocess.run([*command, f"--wrap={script}"], capture_output=True, text=True, check=True)
        self.made.append(done.stdout.strip())
        return self.made[-1]

    def hand_back(self, *jobs: str, start: int = 1, lineage: int = 0) -> None:
        (self.apptainer / f".list.{lineage}").write_text("".join(f"{job} {job_name()}\n" for job in jobs))
        (self.apptainer / f".list.{lineage}").rename(self.apptainer / f"list.{lineage}.{start}")

    def carried(self, lineage: int = 0) -> int:
        """How often the lineage was begun or gone on with."""
        path = self.apptainer / f"begun.{lineage}"
        return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.fixture
def site(slurm: None, tmp_path: Path, standin_slurm: StandinSlurm) -> Iterator[Jobs]:
    site = Jobs(tmp_path / "site", standin_slurm)
    yield site
    while left := [number for number, _ in site.queue()]:
        subprocess.run(["scancel", "--quiet", *left, *site.made], check=False)
        time.sleep(0.2)
    subprocess.run(["scancel", "--quiet", *site.made], check=False)


def says(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def state(job: str) -> str:
    return says("squeue", "-h", "-t", "all", "-j", job, "-o", "%T")


def is_held_by_dependency(site: Jobs) -> bool:
    """Whether nothing of the campaign holds a core, and one job waits for others."""
    return [found for _, found in site.queue()] == ["PENDING"]


def test_the_successor_begins_with_the_first_job_that_ends_and_not_with_one_that_is_requeued(
    site: Jobs,
) -> None:
    jobs = [site.job(), site.job()]
    wait_until(lambda: [state(job) for job in jobs] == ["RUNNING", "RUNNING"])
    site.hand_back(*jobs)
    site.sbatch()
    words = f"goes on with lineage 0 when one of its jobs ({jobs[0]} {jobs[1]}) ends"
    wait_until(lambda: words in site.log() and is_held_by_dependency(site), 60)
    for _ in range(2):
        says("scontrol", "requeue", jobs[0])
        wait_until(lambda: state(jobs[0]) != "RUNNING")
        wait_until(lambda: state(jobs[0]) == "RUNNING")
        assert is_held_by_dependency(site) and site.carried() == 1, "a job that never ends starts nobody"
    says("scancel", jobs[1])
    wait_until(lambda: site.carried() == 2, 60)
    site.end()
    wait_until(lambda: not site.queue(), 60)
    assert site.carried() == 2 and "could not be cancelled" not in site.log()


@pytest.mark.parametrize("ended", ["a moment ago", "so long ago that Slurm has forgotten it"])
def test_a_job_that_ended_before_it_could_be_waited_for_starts_it_at_once(site: Jobs, ended: str) -> None:
    jobs = [site.job(), site.job("true") if ended == "a moment ago" else UNKNOWN]
    wait_until(lambda: state(jobs[0]) == "RUNNING" and (jobs[1] == UNKNOWN or state(jobs[1]) == "COMPLETED"))
    site.hand_back(*jobs)
    site.sbatch()
    wait_until(lambda: site.carried() == 2, 60)
    assert "handed back: " in site.log() and "Nothing to do here" not in site.log()
    wait_until(lambda: len(site.waiting()) == 1, 30)
    site.end()
    wait_until(lambda: not site.queue(), 60)
    assert site.carried() == 2


def test_a_time_limit_after_a_refusal_is_met_as_ever(site: Jobs) -> None:
    """Slurm refuses what it takes for a job's waiting for itself."""
    site.write_program(
        "scontrol",
        f'[ "$1" != update ] || set -- update "$2" "dependency=afterany:${{2#*=}}"\nexec {scontrol()} "$@"',
    )
    job = site.job()
    site.hand_back(job)
    number = site.sbatch()
    wait_until(lambda: site.carried() == 2, 60)
    assert "this job keeps its core: " in site.log() and "Job dependency problem" in site.log()
    assert len(site.waiting()) == 1
    says("scancel", "--batch", "--signal=USR2", f"{number}_0")
    wait_until(lambda: site.carried() == 3, 60)
    site.end()
    wait_until(lambda: not site.queue(), 60)


def scontrol() -> str:
    return says("bash", "-c", "command -v scontrol")


def test_the_submitter_of_another_lineage_serves_when_that_of_one_that_hands_back_ends(site: Jobs) -> None:
    site.sbatch("--array=0-1")
    owner = site.run / "spool" / "submitter.lock" / "owner"
    wait_until(lambda: site.carried(0) == 1 == site.carried(1))
    pid = dict(word.split("=") for word in wait_for_text(owner).split())["pid"]
    environment = Path(f"/proc/{pid}/environ").read_text().split("\0")
    served_by = int(
        next(word for word in environment if word.startswith("SLURM_ARRAY_TASK_ID=")).split("=")[1]
    )
    site.hand_back(site.job(), lineage=served_by)
    wait_until(lambda: "handed back: " in site.log(), 60)
    attempt = f"lineage-{1 - served_by}/iterations/0001/seed-11/train/attempt-1"
    (site.run / attempt).mkdir(parents=True)
    (site.run / attempt / "job.json").write_text("{}")
    fields = {"template": "train", "attempt": attempt, "minutes": 1, "cpus": 1, "memory_mib": 50, "gpus": 0}
    name = job_name().replace("-l0.", f"-l{1 - served_by}.")
    (site.run / "spool" / ".request").write_text("".join(f"{k}={v}\n" for k, v in fields.items()))
    (site.run / "spool" / ".request").rename(site.run / "spool" / "requests" / name)
    receipt = site.run / "spool" / "receipts" / name
    wait_until(receipt.exists, 60)
    site.made.append(read_fields(receipt)["job_id"])
    assert len(site.waiting()) == 2, "one for the lineage that is carried, one for the other"
    site.end()
    says("scancel", site.made[0])
    wait_until(lambda: not site.queue(), 60)
