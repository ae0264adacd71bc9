"""Kills, a second controller, a dead endpoint, a full disk: nothing is lost, nothing runs twice."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from mlipilot.audit.claims import claim_in_force
from mlipilot.audit.ledger import read_ledger
from mlipilot.controller.state import State, replay
from mlipilot.controller.verification import verify_run
from mlipilot.paths import RunPaths
from tests.claims import OTHER_HOST, leave_claim
from tests.end_to_end.conftest import command, mlipilot, with_data, write_campaign

pytestmark = pytest.mark.slow


def _state(run: RunPaths) -> State:
    return replay(read_ledger(run.lineage(0).ledger))


def _outcome(state: State) -> list[Any]:
    """What must not depend on disturbances: recipes, verdicts, and the trained models' scores."""
    kept = ("verdict", "violation", "log_objective", "incumbent")
    return [
        (i.title, i.recipe_digest, [getattr(i.verdict, key) for key in kept] if i.verdict else None)
        for i in state.iterations
    ]


def _start(arguments: list[str | Path], cwd: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command(arguments),
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=_heed_interrupts,
    )


def _heed_interrupts() -> None:
    """A shell ignores Ctrl-C on behalf of its background jobs; these tests may be one."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.sweep  # test_slurm_faults.py kills controllers, too
@pytest.mark.xdist_group("undisturbed")
def test_a_controller_killed_again_and_again_reaches_the_same_end(
    undisturbed: RunPaths, tmp_path: Path
) -> None:
    campaign = write_campaign(tmp_path)
    run = RunPaths(tmp_path / "runs" / "tiny")
    dice = random.Random(20)
    process = _start(["run", campaign], tmp_path)
    kills = 0
    while True:
        try:
            process.wait(timeout=dice.uniform(1.5, 9.0) if kills < 10 else 600)
            break
        except subprocess.TimeoutExpired:
            # The second signal in three is what Ctrl-C sends; the others cannot be caught.
            os.kill(process.pid, signal.SIGINT if kills % 3 == 1 else signal.SIGKILL)
            process.wait()
            kills += 1
            process = _start(["resume", run.root] if run.spec.exists() else ["run", campaign], tmp_path)
    assert process.returncode == 0 and kills >= 5
    state = _state(run)
    assert _outcome(state) == _outcome(_state(undisturbed))
    assert {len(attempts) for attempts in state.jobs.values()} == {1}, "a job ran twice"
    records = read_ledger(run.lineage(0).ledger)
    begun = [epoch for r in records if (epoch := getattr(r.event, "epoch", None)) is not None]
    assert len(begun) > 1 and begun == sorted(set(begun)), "each controller has an epoch of its own"
    assert verify_run(run).problems == []


def test_a_second_controller_is_refused_and_cancel_ends_the_first(tiny_data: Path, tmp_path: Path) -> None:
    with_data(tiny_data, tmp_path)
    campaign = write_campaign(tmp_path, budget={"iterations": 0, "optimizer_steps": 100_000}, seeds=[1])
    run = RunPaths(tmp_path / "runs" / "tiny")
    first = _start(["run", campaign], tmp_path)
    try:
        training = run.lineage(0).root / "iterations/0000/seed-1/train/attempt-1"
        _wait_for(lambda: b'"progress"' in _read(training / "stdout.log"))
        refused = mlipilot("resume", run.root, cwd=tmp_path, check=2)
        assert f"process {first.pid}" in refused.stderr
        mlipilot("cancel", run.root, cwd=tmp_path)
        assert first.wait(timeout=60) == 1
    finally:
        if first.poll() is None:
            first.kill()
    state = _state(run)
    assert state.cancelled and not state.in_flight()
    assert verify_run(run).problems == []


def test_cancel_after_an_interruption_ends_the_jobs_left_behind(tiny_data: Path, tmp_path: Path) -> None:
    with_data(tiny_data, tmp_path)
    campaign = write_campaign(tmp_path, budget={"iterations": 0, "optimizer_steps": 100_000}, seeds=[1])
    run = RunPaths(tmp_path / "runs" / "tiny")
    first = _start(["run", campaign], tmp_path)
    training = run.lineage(0).root / "iterations/0000/seed-1/train/attempt-1"
    _wait_for(lambda: b'"progress"' in _read(training / "stdout.log"))
    for _ in range(2):  # Slurm's way of asking, which may come again
        os.kill(first.pid, signal.SIGTERM)
        time.sleep(0.2)
    assert first.wait(timeout=60) == 130
    assert claim_in_force(run.lineage(0).controller) == (1, None), "it let the lineage go"
    mlipilot("cancel", run.root, cwd=tmp_path)
    assert _state(run).cancelled
    assert b'"cancelled"' in _read(training / "result.json")


def test_a_controller_that_was_taken_over_stops_and_writes_nothing(tiny_data: Path, tmp_path: Path) -> None:
    """It hung, say, and somebody unlocked its lineage; what it left running is taken up by the next."""
    with_data(tiny_data, tmp_path)
    campaign = write_campaign(tmp_path, budget={"iterations": 0, "optimizer_steps": 100_000}, seeds=[1])
    run = RunPaths(tmp_path / "runs" / "tiny")
    training = run.lineage(0).root / "iterations/0000/seed-1/train/attempt-1"
    with (tmp_path / "log").open("wb") as log:
        stale = subprocess.Popen(command(["run", campaign]), cwd=tmp_path, stdout=log, stderr=log)
    try:
        _wait_for(lambda: b'"progress"' in _read(training / "stdout.log"))
        refused = mlipilot("unlock", run.root, "--yes", cwd=tmp_path, check=2)
        assert f"process {stale.pid} on" in refused.stderr
        before = run.lineage(0).ledger.read_bytes()
        leave_claim(run.lineage(0).root, **OTHER_HOST)
        assert stale.wait(timeout=60) == 1
    finally:
        if stale.poll() is None:
            stale.kill()
    assert b"another controller took over at epoch 2" in _read(tmp_path / "log")
    assert run.lineage(0).ledger.read_bytes() == before
    assert "unlock" in mlipilot("resume", run.root, cwd=tmp_path, check=2).stderr
    mlipilot("unlock", run.root, "--yes", cwd=tmp_path)
    mlipilot("cancel", run.root, cwd=tmp_path)
    assert _state(run).cancelled and not _state(run).in_flight()
    assert verify_run(run).problems == []


def test_a_dead_endpoint_pauses_and_resume_goes_on(tiny_data: Path, tmp_path: Path) -> None:
    pilot = {"kind": "openai", "model": "scripted", "max_retries": 1, "backoff_s": 0.1}
    pilot |= {"reviewer": False, "analyst": False}
    with_data(tiny_data, tmp_path)
    jobs = {"smoke": False, "train_wall_limit_s": 300, "evaluate_wall_limit_s": 300}
    budget = {"iterations": 1, "optimizer_steps": 12}
    campaign = write_campaign(tmp_path, pilot=pilot, seeds=[1], budget=budget, jobs=jobs)
    key = "sk-very-secret"
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen: nobody else can on this port
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/v1"
        done = mlipilot("run", campaign, cwd=tmp_path, check=75, OPENAI_BASE_URL=url, OPENAI_API_KEY=key)
    run = RunPaths(tmp_path / "runs" / "tiny")
    assert _state(run).paused and url in done.stderr
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(command(["endpoint", "--scripted", "--port", "0"]), stdout=log, stderr=log)
    try:
        _wait_for(lambda: _announced(tmp_path))
        url = _announced(tmp_path)
        mlipilot("resume", run.root, cwd=tmp_path, OPENAI_BASE_URL=url, OPENAI_API_KEY=key)
    finally:
        server.terminate()
        server.wait()
    assert _state(run).iterations[1].verdict is not None
    for path in run.root.rglob("*"):
        if path.is_file():
            assert key.encode() not in path.read_bytes(), path


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_pauses_and_resume_goes_on(tmp_path: Path) -> None:
    budget = {"iterations": 0, "optimizer_steps": 12}
    campaign = write_campaign(tmp_path, budget=budget, seeds=[1], jobs={"min_free_mib": 4})
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk], check=False)
    if mounted.returncode != 0:
        pytest.skip("this machine does not let root mount a tmpfs")
    run = RunPaths(disk / "tiny")
    try:
        filler = disk / "filler"
        filler.write_bytes(b"\0" * (24 * 1024 * 1024 - 64 * 1024))
        done = mlipilot("run", campaign, "--run-dir", disk, cwd=tmp_path, check=75)
        assert "no space" in done.stderr
        filler.unlink()
        begun = run.spec.exists()
        again: list[str | Path] = ["resume", run.root] if begun else ["run", campaign, "--run-dir", disk]
        mlipilot(*again, cwd=tmp_path)
        assert _state(run).finished and verify_run(run).problems == []
    finally:
        subprocess.run(["umount", disk], check=True)


def _wait_for(condition: Any, patience_s: float = 120) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _announced(folder: Path) -> str:
    """Where the endpoint that was started there is, once it says so."""
    said = re.search(rb"http://127\.0\.0\.1:[0-9]+/v1", _read(folder / "log"))
    return said[0].decode() if said else ""
