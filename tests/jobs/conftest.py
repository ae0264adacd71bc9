"""A run directory just big enough for a worker, and attempts in it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mlipilot.audit.files import tree_digest, write_json
from mlipilot.audit.protected import hash_protected
from mlipilot.jobs import commands
from mlipilot.jobs.backend import Standing, Submission
from mlipilot.jobs.container_commands import Container
from mlipilot.jobs.job_files import JobOrder
from mlipilot.jobs.local_backend import LocalBackend


@pytest.fixture
def run(tmp_path: Path) -> Path:
    root = tmp_path / "run with spaces"
    (root / "data").mkdir(parents=True)
    (root / "data" / "train.xyz").write_text("labels")
    (root / "recipe").mkdir()
    (root / "recipe" / "train.py").write_text("pass")
    for name in ("campaign.lock.yaml", "scorecard.yaml"):
        (root / name).write_text("x: 1\n")
    write_json(root / "protected.json", hash_protected(root))
    return root


@pytest.fixture
def make_order(run: Path) -> Callable[..., JobOrder]:
    def make(code: str, limit_s: float = 60) -> JobOrder:
        return JobOrder(
            name="test",
            argv=[sys.executable, "-c", code],
            cwd=str(run / "recipe"),
            environment=commands.job_environment(
                {"PATH": "/usr/bin:/bin", "OPENAI_API_KEY": "sk-secret", "HTTPS_PROXY": "x"},
                run / "attempt" / "home",
                use_gpu=False,
            ),
            wall_limit_s=limit_s,
            run=str(run),
            protected=str(run / "protected.json"),
            read_only={str(run / "recipe"): tree_digest(run / "recipe")},
        )

    return make


def submit(attempt: Path, order: JobOrder, container: Container | None = None) -> LocalBackend:
    """Start a worker, whatever other workers there are."""
    backend = LocalBackend(container)
    backend.ensure_started(Submission(attempt, order, anchor="0" * 64, kind="train"))
    return backend


def wait(attempt: Path, patience_s: float = 60) -> Standing:
    """Where an attempt comes to rest, as a controller that came later sees it."""
    backend, deadline = LocalBackend(), time.monotonic() + patience_s
    while (found := backend.standing(attempt)).phase in ("running", "not_started"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found
