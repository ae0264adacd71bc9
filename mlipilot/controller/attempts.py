"""Submitting and collecting job attempts: from orders to what the ledger says of how they ended."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

from mlipilot.audit.files import sha256_file, tree_digest
from mlipilot.audit.manifest import MANIFEST, check_manifest
from mlipilot.campaign.paths import JobKey, LineagePaths, RunPaths
from mlipilot.campaign.spec import CampaignSpec
from mlipilot.controller.observer import JobProgress
from mlipilot.controller.state import State
from mlipilot.jobs import commands, local, logs
from mlipilot.jobs.order import JobOrder, read_json, read_result
from mlipilot.untrusted import one_line


class Attempts:
    """The attempts of one lineage on the local backend."""

    def __init__(self, run: RunPaths, lineage: LineagePaths, spec: CampaignSpec) -> None:
        self.run, self.lineage, self.spec = run, lineage, spec
        self._workers: dict[Path, subprocess.Popen[bytes]] = {}

    def order(self, state: State, key: JobKey, number: int) -> JobOrder:
        """What an attempt is told to run."""
        attempt = self.lineage.attempt(key, number)
        use_gpu = self.spec.jobs.device == "cuda"
        recipe = self.lineage.recipe(key.iteration)
        if key.kind == "train":
            argv = commands.train_argv(
                self.run.data, attempt / "output", key.seed, self.spec.budget.optimizer_steps
            )
            cwd, read_only, limit = recipe, [recipe], self.spec.jobs.train_wall_limit_s
        else:
            model = self._handover(state, key)
            argv = commands.evaluate_argv(
                model=model,
                data=self.run.data,
                scorecard=self.run.scorecard,
                profile=self.spec.profile,
                output=attempt / "output",
                split="sealed" if key.kind == "sealed" else "test",
                device=self.spec.jobs.device,
            )
            cwd, read_only, limit = attempt, [recipe], self.spec.jobs.evaluate_wall_limit_s
        return JobOrder(
            name=f"{self.spec.name}/{self.lineage.root.name}/{key.text}/attempt-{number}",
            argv=argv,
            cwd=str(cwd),
            environment=commands.job_environment(dict(os.environ), attempt / "home", use_gpu=use_gpu),
            wall_limit_s=limit,
            run=str(self.run.root),
            protected=str(self.run.protected),
            read_only={str(path): tree_digest(path) for path in read_only},
            uses_gpu=use_gpu,
        )

    def _handover(self, state: State, key: JobKey) -> Path:
        trained = state.last(JobKey(key.iteration, key.seed, "train"))
        if trained is None:
            raise AssertionError(f"{key.text} is due before its training")
        return self.lineage.handover(key, trained.number)

    def ensure_started(self, state: State, key: JobKey, number: int) -> None:
        """Start a worker for a submitted attempt that has none. Called again after a kill, it is harmless."""
        attempt = self.lineage.attempt(key, number)
        if attempt not in self._workers and local.state(attempt) == "not_started":
            self._workers[attempt] = local.submit(attempt, self.order(state, key, number))

    def collect(self, key: JobKey, number: int) -> dict[str, Any] | None:
        """The `job_finished` body of an attempt that is over, or None while it goes on."""
        attempt = self.lineage.attempt(key, number)
        # First whether our worker has ended, then the directory: in the other order a worker that seals in
        # between would count as lost.
        worker = self._workers.get(attempt)
        ended = worker is not None and worker.poll() is not None
        where = local.state(attempt)
        if where == "running" or (where == "not_started" and not ended):
            return None
        body: dict[str, Any] = {
            "iteration": key.iteration,
            "seed": key.seed,
            "job": key.kind,
            "attempt": number,
        }
        if where != "finished":
            lost = {"outcome": "lost", "reason": "the worker ended without sealing the attempt"}
            return body | lost | {"cpu_s": 0.0, "gpu_s": 0.0, "wall_s": 0.0, "manifest_sha256": None}
        return body | self._sealed_result(attempt)

    def _sealed_result(self, attempt: Path) -> dict[str, Any]:
        result = read_result(attempt)
        outcome, reason = result.outcome, result.reason
        problems = check_manifest(attempt)
        if problems:
            outcome = "protected_changed"
            reason = f"the attempt was changed after it was sealed: {problems[0]}"
        elif outcome == "failed":
            said = self._refusal(attempt) or logs.failure_reason(attempt)
            reason = f"{said} ({reason})" if said else reason
        return {
            "outcome": outcome,
            "exit_status": result.exit_status,
            "reason": reason,
            "cpu_s": result.cpu_s,
            "gpu_s": result.gpu_s,
            "wall_s": result.wall_s,
            "isolation": result.isolation.model_dump(),
            "manifest_sha256": sha256_file(attempt / MANIFEST),
        }

    @staticmethod
    def _refusal(attempt: Path) -> str | None:
        """Why the evaluator refused a hand-over, if it did."""
        metrics = attempt / "output" / "metrics.json"
        if not metrics.is_file():
            return None
        found = read_json(metrics)
        refused = found.get("refused") if isinstance(found, dict) else None
        return one_line(f"the hand-over was refused: {refused}") if refused else None

    def running(self, state: State) -> list[JobProgress]:
        """What the jobs in flight say of themselves."""
        shown = []
        for key, attempt in state.in_flight():
            directory = self.lineage.attempt(key, attempt.number)
            fraction, text = logs.progress(directory)
            order = directory / "job.json"
            elapsed_s = time.time() - order.stat().st_mtime if order.exists() else 0.0
            shown.append(JobProgress(key.text, fraction, text, elapsed_s))
        return shown
