"""A run's jobs by HyperQueue within an allocation of a real Slurm; `hq` is a stand-in where there is none."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.sbatch.conftest import ATTEMPT, REPOSITORY, Run, job_name, read_fields
from tests.sbatch.hq import with_hq
from tests.sbatch.test_submitter_cluster import slurm_says, todo
from tests.waiting import wait_until

pytestmark = pytest.mark.cluster
PathWithout = Callable[..., str]
PATIENCE_S = 180  # an allocation may wait for others' jobs
EVALUATION = "lineage-0/iterations/0001/seed-11/evaluate/attempt-1"


class HqRun:
    """A run, and the allocations that serve it."""

    def __init__(self, run: Run) -> None:
        self.run, self.allocations = run, list[str]()

    def allocate(self, *options: str, **env: str) -> str:
        words = ["--cpus-per-task=2", "--mem=4G", "--time=60", *options]
        command = ["sbatch", "--parsable", f"--output={self.run.path.parent}/allocation-%j.log", *words]
        done = subprocess.run(
            [*command, str(REPOSITORY / "sbatch" / "hyperqueue.sbatch"), str(self.run.path)],
            cwd=REPOSITORY,
            env=self.run.env | env,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        self.allocations.append(done.stdout.strip())
        return self.allocations[-1]

    def log(self, allocation: str) -> str:
        path = self.run.path.parent / f"allocation-{allocation}.log"
        return path.read_text() if path.exists() else ""

    def state_in_slurm(self, allocation: str) -> str:
        return slurm_says("squeue", "-h", "-t", "all", "-j", allocation, "-o", "%T").strip()

    def is_over(self, allocation: str) -> bool:
        return self.state_in_slurm(allocation) not in {"PENDING", "RUNNING", "COMPLETING"}

    def server(self) -> dict[str, str]:
        path = self.run.spool / "hq"
        return read_fields(path) if path.exists() else {}

    def worker(self) -> int:
        """The process of the worker."""
        found = subprocess.run(
            ["pgrep", "-f", f"hq-{self.server()['server']} worker start"], capture_output=True, text=True
        )
        return int(found.stdout.split()[0])

    def begun(self, name: str) -> bool:
        return self.run.state(name) == "RUNNING" and any(self.run.spool.glob(f"started/{name}.*"))


@pytest.fixture
def hq_run(cluster_run: Run) -> Iterator[HqRun]:
    with_hq(cluster_run)
    found = HqRun(cluster_run)
    yield found
    if found.allocations:
        subprocess.run(["scancel", *found.allocations], check=True)
        for allocation in found.allocations:
            wait_until(partial(found.is_over, allocation))


def is_completed(run: Run, name: str) -> bool:
    return run.state(name) == "COMPLETED"


@pytest.fixture
def head() -> str:
    return secrets.token_hex(8)


@pytest.fixture
def name(head: str) -> str:
    return job_name(1, head)


@pytest.fixture
def after(head: str) -> str:
    return job_name(2, head)


def test_a_request_runs_in_the_allocation_under_an_id_that_is_none_of_slurms(
    hq_run: HqRun, name: str, after: str
) -> None:
    run = hq_run.run
    first, second = todo(run, "sleep 1"), run.attempt(EVALUATION)
    run.request(after, template="evaluate", attempt=EVALUATION, after=name)
    run.request(name, cpus="2", memory_mib="600", minutes="7")
    allocation = hq_run.allocate(OPENAI_API_KEY="secret")
    wait_until(lambda: run.state(after) == "COMPLETED", PATIENCE_S)
    told = read_fields(first / "environment")
    assert told["SLURM_JOB_ID"] == run.receipt(name)["job_id"] == f"hq-{allocation}-1"
    assert (told["SLURM_JOB_NAME"], told["SLURM_RESTART_COUNT"]) == (name, "0")
    assert not [key for key in told if key.startswith(("HQ", "OPENAI", "MLIPILOT"))]
    assert (first / "arguments").read_text().splitlines() == [str(run.path), ATTEMPT]
    assert run.queue()[1][after][0] == f"hq-{allocation}-2"
    assert float((second / "begun").read_text()) >= float((first / "ended").read_text())
    keys = run.spool / f"hq-{allocation}"
    assert keys.stat().st_mode & 0o777 == 0o700


def test_a_job_whose_worker_is_killed_starts_again_under_its_id(hq_run: HqRun, name: str) -> None:
    run = hq_run.run
    attempt = todo(run, '[ "$SLURM_RESTART_COUNT" != 0 ] || sleep 300')
    run.request(name)
    hq_run.allocate()
    wait_until(lambda: hq_run.begun(name), PATIENCE_S)
    os.kill(hq_run.worker(), signal.SIGKILL)
    wait_until(lambda: run.state(name) == "COMPLETED", PATIENCE_S)
    told = read_fields(attempt / "environment")
    assert told["SLURM_JOB_ID"] == run.receipt(name)["job_id"]
    assert int(told["SLURM_RESTART_COUNT"]) >= 1


@pytest.mark.parametrize(
    "how", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.sweep)], ids=["killed", "hangs"]
)
def test_a_server_that_is_dead_is_followed_by_another_and_jobs_go_on_as_they_were(
    hq_run: HqRun, name: str, after: str, how: signal.Signals
) -> None:
    run = hq_run.run
    attempt = todo(run, '[ "$SLURM_RESTART_COUNT" != 0 ] || sleep 300')
    run.request(name)
    allocation = hq_run.allocate()
    wait_until(lambda: hq_run.begun(name), PATIENCE_S)
    os.kill(int(hq_run.server()["pid"]), how)
    wait_until(lambda: run.state(name) == "COMPLETED", 3 * PATIENCE_S)
    told = read_fields(attempt / "environment")
    assert (told["SLURM_JOB_ID"], told["SLURM_RESTART_COUNT"]) == (f"hq-{allocation}-1", "1")
    run.request(after, attempt=EVALUATION) if run.attempt(EVALUATION) else None
    wait_until(lambda: run.state(after) == "COMPLETED", PATIENCE_S)
    assert run.receipt(after)["job_id"] == f"hq-{allocation}.2-2"  # no id is used again
    assert not (run.spool / f"hq-{allocation}" / "hq-current").exists()


def test_a_server_whose_keys_somebody_deleted_is_followed_by_another(hq_run: HqRun, name: str) -> None:
    run = hq_run.run
    attempt = todo(run, '[ "$SLURM_RESTART_COUNT" != 0 ] || sleep 300')
    run.request(name)
    hq_run.allocate()
    wait_until(lambda: hq_run.begun(name), PATIENCE_S)
    before = hq_run.server()
    shutil.rmtree(run.spool / f"hq-{before['server']}")
    wait_until(lambda: run.state(name) == "COMPLETED", PATIENCE_S)
    assert read_fields(attempt / "environment")["SLURM_RESTART_COUNT"] == "1"
    wait_until(lambda: not Path(f"/proc/{before['pid']}").exists())


def test_allocations_of_one_run_share_a_server_and_follow_one_another(
    hq_run: HqRun, name: str, after: str
) -> None:
    run = hq_run.run
    for attempt, other in ((ATTEMPT, EVALUATION), (EVALUATION, ATTEMPT)):
        meeting = f'until [ -e "$run/{other}/begun" ]; do sleep 0.1; done'
        todo(run, f'{meeting}; [ "$SLURM_RESTART_COUNT" != 0 ] || sleep 300', attempt)
    for request, attempt in ((name, ATTEMPT), (after, EVALUATION)):
        run.request(request, attempt=attempt, cpus="1")
    first = hq_run.allocate("--cpus-per-task=1")
    wait_until(lambda: hq_run.server().get("server") == first, PATIENCE_S)
    second = hq_run.allocate("--cpus-per-task=1")
    wait_until(lambda: hq_run.begun(name) and hq_run.begun(after), PATIENCE_S)
    subprocess.run(["scancel", first], check=True)
    wait_until(lambda: run.state(name) == run.state(after) == "COMPLETED", PATIENCE_S)
    assert hq_run.server()["server"] == second


def test_a_submitter_that_is_killed_finds_the_server_of_the_one_before_it(hq_run: HqRun, name: str) -> None:
    run = hq_run.run
    attempt = todo(run, "sleep 3")
    run.request(name)
    allocation = hq_run.allocate()
    wait_until(lambda: hq_run.begun(name), PATIENCE_S)
    before = hq_run.server()
    os.kill(int(read_fields(run.spool / "submitter")["pid"]), signal.SIGKILL)
    wait_until(lambda: run.state(name) == "COMPLETED", PATIENCE_S)
    assert read_fields(run.spool / "submitter")["generation"] == "2"
    assert hq_run.server() == before
    assert read_fields(attempt / "environment")["SLURM_RESTART_COUNT"] == "0"
    assert hq_run.log(allocation).count("HyperQueue serves as") == 1


@pytest.mark.parametrize("end", ["scancel", "its limit"])
def test_the_next_allocation_goes_on_with_the_jobs_of_one_that_ended(
    hq_run: HqRun, name: str, after: str, end: str
) -> None:
    run = hq_run.run
    attempt = todo(run, '[ "$SLURM_RESTART_COUNT" != 0 ] || sleep 300')
    done = todo(run, "", EVALUATION)
    run.request(after, attempt=EVALUATION, cpus="1")
    run.request(name, cpus="1")
    first = hq_run.allocate()
    wait_until(lambda: hq_run.begun(name) and run.state(after) == "COMPLETED", PATIENCE_S)
    begun = (done / "begun").read_text()
    words = ["--signal=USR2", "--batch"] if end == "its limit" else []
    subprocess.run(["scancel", *words, first], check=True)
    wait_until(lambda: hq_run.is_over(first))
    assert run.state(name) == "RUNNING"  # nobody says that it is over
    second = hq_run.allocate()
    wait_until(lambda: run.state(name) == "COMPLETED", PATIENCE_S)
    told = read_fields(attempt / "environment")
    assert (told["SLURM_JOB_ID"].split("-")[1], told["SLURM_RESTART_COUNT"]) == (first, "1")
    assert hq_run.server()["server"] == second
    assert (done / "begun").read_text() == begun  # what was over is not done again


def test_running_and_waiting_jobs_are_cancelled(hq_run: HqRun, name: str, after: str) -> None:
    run = hq_run.run
    attempt = todo(run, "sleep 300")
    run.attempt(EVALUATION)
    run.request(name, cpus="2")
    run.request(after, cpus="2", attempt=EVALUATION)
    hq_run.allocate()
    wait_until(lambda: hq_run.begun(name) and run.state(after) == "PENDING", PATIENCE_S)
    run.cancel(after)
    run.cancel(name)
    wait_until(lambda: run.state(name) == run.state(after) == "CANCELLED", PATIENCE_S)
    assert not (run.path / EVALUATION / "begun").exists()
    assert not (attempt / "ended").exists()


def test_a_request_that_no_node_of_the_allocation_can_serve_is_told(hq_run: HqRun, name: str) -> None:
    run = hq_run.run
    allocation = hq_run.allocate()
    for number, (key, value, most) in enumerate(
        [("cpus", "3", 2), ("memory_mib", "2049", 2048), ("gpus", "1", 0), ("minutes", "57", 56)]
    ):
        other = f"{name}.{number}"
        run.request(other, **{key: value})
        wait_until(partial(run.receipt, other), PATIENCE_S)
        assert run.receipt(other)["reason"].startswith(
            f"{key}={value} is more than the {most} that a node of allocation {allocation} has for a job"
        )


def test_a_job_that_needs_more_time_than_is_left_waits_for_the_next_allocation(
    hq_run: HqRun, name: str
) -> None:
    run = hq_run.run
    todo(run, "true")
    first = hq_run.allocate("--time=6")
    wait_until(lambda: hq_run.server().get("server") == first, PATIENCE_S)
    run.request(name, minutes="2")  # of six, of which four are the end's
    wait_until(lambda: run.state(name) == "PENDING", PATIENCE_S)
    assert run.queue()[1][name][2] == f"for a place in allocation {first}"
    subprocess.run(["scancel", first], check=True)
    hq_run.allocate()
    wait_until(lambda: run.state(name) == "COMPLETED", PATIENCE_S)


def test_an_allocation_without_hyperqueue_ends_and_says_so(hq_run: HqRun, path_without: PathWithout) -> None:
    allocation = hq_run.allocate(PATH=path_without("hq"))
    wait_until(lambda: hq_run.is_over(allocation), PATIENCE_S)
    assert "'hq' is not on the PATH" in hq_run.log(allocation)


def test_nodes_that_nobody_needs_are_given_back(hq_run: HqRun, name: str) -> None:
    run = hq_run.run
    run.request(name)
    allocation = hq_run.allocate(MLIPILOT_HQ_IDLE_S="2")
    wait_until(lambda: run.state(name) == "COMPLETED", PATIENCE_S)
    wait_until(lambda: hq_run.state_in_slurm(allocation) == "COMPLETED", PATIENCE_S)
    assert not (run.spool / "hq").exists()


def test_a_submission_in_doubt_is_found_by_its_name_or_made_again(hq_run: HqRun, name: str) -> None:
    run = hq_run.run
    root = Path(run.env.get("STANDIN_HQ", ""))
    if not root.is_absolute():
        pytest.skip("only the stand-in can be told to lose an answer")
    attempt = todo(run, 'echo begun >>"$attempt/starts"')
    for number, mode in enumerate(("mute", "lost")):
        (root / "tell").write_text(mode)
        other = f"{name}.{number}"
        run.request(other)
        if not number:
            hq_run.allocate()
        wait_until(partial(is_completed, run, other), PATIENCE_S)
        assert len((attempt / "starts").read_text().splitlines()) == number + 1
    calls = [json.loads(line) for line in (root / "calls").read_text().splitlines()]
    assert sum("submit" in words for words in calls) == 3
