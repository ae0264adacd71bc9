"""A whole campaign on a Slurm where everything goes wrong at once: nothing is lost, nothing runs twice."""

from __future__ import annotations

import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from mlipilot.jobs.job_files import read_result
from mlipilot.paths import CLAIM, JobKey, RunPaths
from tests.end_to_end.conftest import command, mlipilot, write_campaign
from tests.end_to_end.own_cluster import OwnCluster, needs_daemons
from tests.end_to_end.slurm_runs import Submitter, state_of, told, weights

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("own_cluster"), needs_daemons]

SEED = 5
FIRST, SECOND = JobKey(0, 1, "train"), JobKey(1, 1, "train")
PATIENCE_S = 900


class Recurring:
    """A fault that strikes so many times, after pauses that dice choose."""

    def __init__(self, times: int, least_s: float, most_s: float, dice: random.Random) -> None:
        self.left, self.pauses_s = times, iter([dice.uniform(least_s, most_s) for _ in range(times)])
        self.next_at = math.inf

    def is_due(self) -> bool:
        """Whether it strikes now; the first pause begins with the first question."""
        strikes = time.monotonic() >= self.next_at
        self.left -= strikes
        if strikes or self.next_at == math.inf:
            self.next_at = time.monotonic() + next(self.pauses_s, math.inf)
        return strikes


class Trouble:
    """What happens to a run: at moments that dice choose, and to jobs once they run."""

    def __init__(self, run: RunPaths, cluster: OwnCluster, submitter: Submitter, dice: random.Random) -> None:
        self.run, self.cluster, self.submitter = run, cluster, submitter
        self.began = time.monotonic()
        self.happened: list[str] = []
        self.controller_kills, self.submitter_kills = Recurring(10, 1, 9, dice), Recurring(3, 5, 25, dice)
        # The first training is requeued and the second cancelled; the node of its next attempt goes down.
        self.strikes: dict[tuple[JobKey, int], Callable[[str], object]] = {
            (FIRST, 1): lambda job: cluster.says("scontrol", "requeue", job),
            (JobKey(0, 1, "evaluate"), 1): lambda job: cluster.restart_controller(away_s=5),
            (SECOND, 1): lambda job: cluster.says("scancel", job),
            (SECOND, 2): lambda job: cluster.lose_node(cluster.node_of(job)),
        }

    def strike(self, controller: subprocess.Popen[bytes]) -> None:
        """Whatever is due now, once the campaign has begun."""
        if not self.run.lineage(0).ledger.exists():
            return
        if self.controller_kills.is_due():
            self._note("the controller is killed")
            controller.kill()
        if self.submitter_kills.is_due():
            self._note("the submitter is killed")
            self.submitter.kill_and_start_again()
        for (key, number), strike in list(self.strikes.items()):
            claim = self.run.lineage(0).attempt(key, number) / CLAIM
            if claim.exists():
                job = json.loads(claim.read_text())["job_id"]
                self._note(f"job {job} is struck: {key.text}, attempt {number}")
                strike(job)
                del self.strikes[key, number]

    def _note(self, what: str) -> None:
        self.happened.append(f"{time.monotonic() - self.began:.1f} s: {what}")

    @property
    def left(self) -> tuple[int, int, int]:
        """What has not happened yet."""
        return self.controller_kills.left, self.submitter_kills.left, len(self.strikes)


def carry_to_the_end(run: RunPaths, campaign: Path, trouble: Trouble) -> None:
    """One controller after the other, until one is not killed."""
    cwd = campaign.parent
    arguments: list[str | Path] = ["run", campaign, "--set", "jobs.backend=slurm"]
    while True:
        with (cwd / "controller.log").open("ab") as log:
            controller = subprocess.Popen(command(arguments), cwd=cwd, stdout=log, stderr=log)
        try:
            while controller.poll() is None:
                assert time.monotonic() < trouble.began + PATIENCE_S, trouble.happened
                trouble.strike(controller)
                time.sleep(0.2)
        finally:
            controller.kill()
        if controller.returncode != -signal.SIGKILL:
            assert controller.returncode == 0, (trouble.happened, (cwd / "controller.log").read_text())
            return
        arguments = ["resume", run.root] if run.spec.exists() else arguments


def unreliable_slurm(root: Path, dice: random.Random) -> dict[str, str]:
    """Commands that now and then lose, hold back or invent an answer; what gives them to a submitter."""
    faults = ["queued_but_timed_out", "queued_but_mute", "queued_but_hangs", "lost"]
    dice.shuffle(faults)
    plans = {"sbatch": [word for fault in faults for word in (fault, "-")], "squeue": []}
    for _ in range(200):  # a wrong answer is never repeated: what Slurm says twice has to be believed
        plans["squeue"] += ["-"] * dice.randint(1, 5) + [dice.choice(["hangs", "empty", "empty", "down"])]
    for name, plan in plans.items():
        shutil.copy(Path(__file__).with_name("unreliable_slurm"), root / name)
        (root / f"{name}.plan").write_text("\n".join(plan) + "\n")
        (root / f"{name}.calls").touch()
    return {"PATH": f"{root}:{os.environ['PATH']}", "UNRELIABLE_SLURM": str(root)}


def test_everything_goes_wrong_at_once(cluster: OwnCluster, tmp_path: Path) -> None:
    dice = random.Random(SEED)
    undisturbed, disturbed, commands = (tmp_path / name for name in ("undisturbed", "disturbed", "commands"))
    for directory in (undisturbed, disturbed, commands):
        directory.mkdir()
    spec = {"seeds": [1], "budget": {"iterations": 1, "optimizer_steps": 4}}
    plain, run = RunPaths(undisturbed / "runs" / "tiny"), RunPaths(disturbed / "runs" / "tiny")
    environment = cluster.environment | unreliable_slurm(commands, dice)
    environment |= {"MLIPILOT_DOUBT_S": "6", "MLIPILOT_SLURM_TIMEOUT_S": "3"}
    # The one to compare with runs at the same time: much of the other's is waiting.
    beside = subprocess.Popen(
        command(["run", write_campaign(undisturbed, **spec)]), cwd=undisturbed, stdout=subprocess.DEVNULL
    )
    try:
        with Submitter(run.root, **environment) as submitter:
            trouble = Trouble(run, cluster, submitter, dice)
            carry_to_the_end(run, write_campaign(disturbed, **spec), trouble)
        assert beside.wait(timeout=PATIENCE_S) == 0
    finally:
        beside.kill()
        beside.wait()
    mlipilot("verify", run.root, cwd=tmp_path)
    why = f"seed {SEED}: {trouble.happened}\n{(disturbed / 'runs' / 'submitter.log').read_text()}"
    assert trouble.left == (0, 0, 0), why

    state = state_of(run)
    assert state.finished == state_of(plain).finished is not None, why
    assert told(run) == told(plain), why
    assert weights(run) == weights(plain), why

    assert {key: len(found) for key, found in state.jobs.items() if len(found) > 1} == {SECOND: 2}, why
    cancelled, repeated = state.jobs[SECOND]
    assert (cancelled.outcome, repeated.outcome) == ("lost", "ok"), why
    _no_job_came_twice(run, cluster, why)
    _every_attempt_was_begun_and_sealed_as_often_as_it_was_due(run, why)


def _no_job_came_twice(run: RunPaths, cluster: OwnCluster, why: str) -> None:
    jobs = cluster.jobs_by_name()
    for request in (run.spool / "requests").iterdir():
        receipt = _fields(run.spool / "receipts" / request.name)
        wanted = [receipt["job_id"]] if receipt["status"] == "submitted" else []
        assert wanted or receipt["reason"] == "cancelled", (request.name, why)
        assert jobs.get(request.name, []) == wanted, (request.name, why)
        for marker in (run.spool / "started").glob(f"{request.name}.[0-9]"):
            assert _fields(marker)["job_id"] == receipt["job_id"], (marker.name, why)


def _every_attempt_was_begun_and_sealed_as_often_as_it_was_due(run: RunPaths, why: str) -> None:
    begun: Counter[str] = Counter()
    for key, attempts in state_of(run).jobs.items():
        for number in range(1, len(attempts) + 1):
            attempt = run.lineage(0).attempt(key, number)
            name = json.loads((attempt / "slurm.json").read_text())["name"]
            log = (run.spool / "logs" / f"{name}.log").read_text()
            begun[f"{key.text}/{number}"] = len(re.findall(r"job \d+ \(start \d+\) on", log))
            if attempts[number - 1].outcome == "ok":
                assert read_result(attempt).job_id == _fields(run.spool / "receipts" / name)["job_id"], why
    again = {name: count for name, count in begun.items() if count != 1}
    assert again == {f"{FIRST.text}/1": 2, f"{SECOND.text}/2": 2}, why


def _fields(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text().splitlines())
