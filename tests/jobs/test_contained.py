"""A local worker whose job runs in a real container: how it ends, and that nothing of it stays."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mlipilot.audit.manifest import check_manifest
from mlipilot.audit.process_identity import ProcessIdentity
from mlipilot.jobs.attempt_claims import claimant
from mlipilot.jobs.container_commands import Container
from mlipilot.jobs.job_files import JobOrder, JobResult, read_result
from mlipilot.jobs.local_backend import LocalBackend
from tests.jobs.conftest import submit, wait
from tests.sbatch.conftest import REPOSITORY
from tests.waiting import wait_until

Start = Callable[..., Path]


@pytest.fixture
def start(run: Path, make_order: Callable[..., JobOrder], shell_image: Path) -> Start:
    """Start a shell script as an attempt in the image; returns the attempt."""

    def begin(script: str, limit_s: float = 60) -> Path:
        fields = {"argv": ["/bin/bash", "-c", script], "reads": [str(run / "recipe")]}
        order = make_order("", limit_s).model_copy(update=fields)
        submit(run / "attempt", order, Container(shell_image, "none"))
        return run / "attempt"

    return begin


def _ended(attempt: Path) -> JobResult:
    assert wait(attempt).phase == "sealed"
    assert check_manifest(attempt) == []
    return read_result(attempt)


def _wait_for_output(attempt: Path) -> None:
    wait_until((attempt / "output" / "on").exists)


def _sleepers(seconds: str) -> list[str]:
    """The processes of this machine that sleep that long, whoever has started them."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        found += [entry.parent.name] if words[:2] == [b"sleep", seconds.encode()] else []
    return found


def test_it_sees_its_recipe_writes_its_output_and_nothing_else(start: Start, run: Path) -> None:
    seen = f"[ -e train.py ] && [ ! -e '{run}/scorecard.yaml' ] && echo apart"
    attempt = start(f"{seen}; echo x >>train.py; echo y >'{run}/attempt/output/y'; exit 0")
    result = _ended(attempt)
    assert result.outcome == "ok", (attempt / "stderr.log").read_text()
    assert (attempt / "stdout.log").read_text() == "apart\n"
    assert (attempt / "output" / "y").exists() and (run / "recipe" / "train.py").read_text() == "pass"
    isolation = result.isolation
    assert (isolation.backend, isolation.filesystem, isolation.network) == ("local", "container", "none")


def test_a_signal_inside_is_told_apart_from_a_status(start: Start) -> None:
    result = _ended(start("kill -SEGV $$"))
    assert (result.outcome, result.exit_status, result.reason) == ("failed", -11, "ended by signal 11")


@pytest.mark.slow
def test_the_time_limit_ends_the_container(start: Start) -> None:
    attempt = start("trap '' TERM; sleep 4321", limit_s=2)
    assert _ended(attempt).outcome == "time_limit"
    wait_until(lambda: not _sleepers("4321"))


def test_cancel_ends_the_container(start: Start, run: Path) -> None:
    attempt = start(f"echo >'{run}/attempt/output/on'; sleep 4322")
    _wait_for_output(attempt)
    LocalBackend().cancel(attempt)
    assert _ended(attempt).outcome == "cancelled"
    wait_until(lambda: not _sleepers("4322"))


def test_a_killed_worker_takes_its_container_along(start: Start, run: Path) -> None:
    attempt = start(f"echo >'{run}/attempt/output/on'; sleep 4323")
    _wait_for_output(attempt)
    worker = claimant(attempt)
    assert isinstance(worker, ProcessIdentity)
    os.kill(worker.pid, signal.SIGKILL)
    assert wait(attempt).outcome == "lost"
    wait_until(lambda: not _sleepers("4323"))


def test_code_in_a_container_does_not_reach_what_is_remembered_of_images(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it could have an image of its own taken for the run's."""
    memories = []
    for runtime in ("", str(tmp_path / "runtime")):
        Path(runtime or tmp_path).mkdir(mode=0o700, exist_ok=True)
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        script = 'source "$0" && find_memory && echo "$memory"'
        found = subprocess.run(
            ["bash", "-c", script, str(REPOSITORY / "sbatch" / "container.sh")],
            capture_output=True,
            text=True,
            check=True,
        )
        memories.append(Path(found.stdout.strip()))
    entries = [memory / f"test-{os.getpid()}" for memory in memories]
    assert str(entries[0]).startswith("/tmp/mlipilot-") and entries[1].is_relative_to(tmp_path)
    try:
        for entry in entries:
            entry.write_text("true")
        tries = "".join(f"echo forged >'{entry}'; echo forged >>'{entry}'; " for entry in entries)
        seen = "".join(f"[ ! -e '{entry}' ] || echo seen; " for entry in entries)
        attempt = start(f"{seen}{tries}exit 0")
        assert _ended(attempt).outcome == "ok", (attempt / "stderr.log").read_text()
        assert (attempt / "stdout.log").read_text() == ""
        assert [entry.read_text() for entry in entries] == ["true", "true"]
    finally:
        for entry in entries:
            entry.unlink(missing_ok=True)
