"""Submitting and collecting job attempts: from orders to what the ledger says of how they ended."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlipilot.audit.discarding import remove
from mlipilot.audit.events.running import JobFinished
from mlipilot.audit.files import sha256_file, tree_digest
from mlipilot.audit.manifest import MANIFEST, check_manifest
from mlipilot.campaign.spec import CampaignSpec
from mlipilot.controller.comparable import first_measured, not_comparable
from mlipilot.controller.observer import JobProgress
from mlipilot.controller.smoke import SMOKE_STEPS, smoke_fault
from mlipilot.controller.spending import training_limit_s
from mlipilot.controller.state import State
from mlipilot.controller.variants import data_of
from mlipilot.errors import PausedError
from mlipilot.evaluation.handover_files import MAX_BYTES
from mlipilot.evaluation.metrics_file import MetricsFile
from mlipilot.jobs import commands, logs
from mlipilot.jobs.backend import Backend, Submission
from mlipilot.jobs.container_commands import without_toolkit
from mlipilot.jobs.intake import drop_lost
from mlipilot.jobs.job_files import JobOrder, order_digest, read_json, result_if_any
from mlipilot.jobs.kept_checkpoints import checkpoint_of
from mlipilot.jobs.local_backend import LocalBackend
from mlipilot.jobs.sandbox import are_sandboxed
from mlipilot.jobs.slurm_backend import SlurmBackend
from mlipilot.paths import METRICS, ORDER, PERMUTED, RESULT, JobKey, LineagePaths, RunPaths
from mlipilot.untrusted import one_line

NOTHING_SPENT: dict[str, Any] = {
    "exit_status": None,
    "cpu_s": 0.0,
    "gpu_s": 0.0,
    "wall_s": 0.0,
    "manifest_sha256": None,
}
"""Of an attempt that left no seal."""
HAND_OVER = {f"model/{name}": most_bytes for name, most_bytes in MAX_BYTES.items()}
"""Of a training's output all that is kept, and the most bytes of it: what the evaluator would read."""


class Attempts:
    """The attempts of one lineage, on the campaign's backend and by this Python unless others are given."""

    def __init__(
        self,
        run: RunPaths,
        lineage: LineagePaths,
        spec: CampaignSpec,
        backend: Backend | None = None,
        python: str = sys.executable,
    ) -> None:
        self.run, self.lineage, self.spec, self.python = run, lineage, spec, python
        self.is_local = spec.jobs.backend == "local"
        self.backend = backend or (
            LocalBackend(sandboxed=are_sandboxed(spec.jobs))
            if self.is_local
            else SlurmBackend(run.root, run.spool, spec.jobs)
        )

    def order(
        self,
        key: JobKey,
        number: int,
        trained: int,
        machine_limit_s: float | None = None,
        data: Path | None = None,
    ) -> JobOrder:
        """What an attempt is told to run; `trained` is the training attempt that an evaluation looks at.

        `data` is what is trained on; None: the run's own.
        """
        attempt = self.lineage.attempt(key, number)
        use_gpu = self.spec.jobs.device == "cuda"
        recipe = self.lineage.recipe_of(key)
        environment = commands.job_environment(dict(os.environ), attempt / "home", use_gpu=use_gpu)
        steps, limit = self.spec.budget.optimizer_steps, self.spec.jobs.train_wall_limit_s
        if key.kind == "smoke":
            steps, limit = min(steps, SMOKE_STEPS), self.spec.jobs.smoke_wall_limit_s
        held = {str(recipe): tree_digest(recipe)}
        if key.kind in ("train", "smoke"):
            data = data or self.run.data
            if data != self.run.data:
                held[str(data / "train")] = tree_digest(data / "train")
            argv = commands.train_argv(self.python, data, attempt / "output", key.seed, steps)
            interval_s = self.spec.jobs.checkpoint_interval_s
            environment |= commands.checkpoint_environment(checkpoint_of(attempt), interval_s)
            cwd, needs, covered, keeps = recipe, None, without_toolkit(self.run.modules), HAND_OVER
            reads = [recipe, data / "train"]
        else:
            training = self.lineage.attempt(key.beside("train"), trained)
            model = self.lineage.handover(key, trained)
            argv = commands.evaluate_argv(
                self._evaluator(),
                model=model,
                data=self.run.data,
                scorecard=self.run.scorecard,
                profile=self.spec.profile,
                output=attempt / "output",
                split="sealed" if key.kind == "sealed" else "test",
                device=self.spec.jobs.device,
                errors_only=key.variant == PERMUTED,
            )
            cwd, limit, needs = attempt / "home", self.spec.jobs.evaluate_wall_limit_s, str(training)
            covered, keeps = {}, None
            reads = [training, self.run.data, self.run.scorecard]
        return JobOrder(
            name=f"{self.spec.name}/{self.lineage.root.name}/{key.text}/attempt-{number}",
            argv=argv,
            cwd=str(cwd),
            environment=environment,
            wall_limit_s=limit,
            memory_mib=self.spec.jobs.resources.memory_mib,
            machine_limit_s=machine_limit_s,
            run=str(self.run.root),
            protected=str(self.run.protected),
            read_only=held,
            reads=[str(path) for path in reads],
            covered=covered,
            keeps=keeps,
            needs=needs,
            uses_gpu=use_gpu,
            require_no_network=self.spec.jobs.require_no_network,
            min_free_mib=self.spec.jobs.min_free_mib,
            on_leak=self.spec.jobs.on_leak,
        )

    def _evaluator(self) -> list[str]:
        if not self.is_local or self.python != sys.executable:
            return commands.evaluator_in_image(self.python)
        return commands.module_argv(commands.EVALUATOR, distrust=not are_sandboxed(self.spec.jobs))

    def ensure_started(self, state: State, jobs: Iterable[tuple[JobKey, int]], anchor: str) -> None:
        """Have attempts run unless they do. `anchor`: the ledger's head, for their jobs' names in a queue."""
        self.backend.ensure_started(*(self._work(state, key, number, anchor) for key, number in jobs))

    def due_order(self, state: State, key: JobKey, number: int) -> JobOrder:
        """What an attempt that is due now is told to run."""
        return self._order(state, key, number, self._trained(state, key, number))

    def _order(self, state: State, key: JobKey, number: int, trained: int) -> JobOrder:
        data = data_of(self.run, self.lineage, self.spec, state, key)
        return self.order(key, number, trained, training_limit_s(state, self.spec, key), data)

    def _trained(self, state: State, key: JobKey, number: int) -> int:
        if key.kind not in ("evaluate", "sealed"):
            return number
        training = state.last(key.beside("train"))
        if training is None:
            raise AssertionError(f"{key.text} is due before its training")
        return training.number

    def _work(self, state: State, key: JobKey, number: int, anchor: str) -> Submission:
        work = self._submission(state, key, number, self._trained(state, key, number), anchor)
        if key.kind != "train":
            return work
        evaluate = key.beside("evaluate")
        last = state.last(evaluate)
        behind = self._submission(state, evaluate, last.number + 1 if last else 1, number, anchor)
        return replace(work, then=behind)

    def _submission(self, state: State, key: JobKey, number: int, trained: int, anchor: str) -> Submission:
        ends = [attempt.ended for attempt in state.jobs.get(key, []) if attempt.ended is not None]
        return Submission(
            attempt=self.lineage.attempt(key, number),
            order=self._order(state, key, number, trained),
            anchor=anchor,
            kind="train" if key.kind in ("train", "smoke") else "evaluate",
            avoid_nodes=[end.bad_node for end in ends if end.bad_node],
        )

    def withdraw_unrecorded(self, state: State, evaluations: Iterable[JobKey]) -> None:
        """End those evaluations that were queued behind trainings, and are not due any more; remove them.

        One seed that failed judges a candidate; what waits for its other seeds would write into the sealed
        iteration. Raises PausedError when such a job does not end.
        """
        for key in evaluations:
            last = state.last(key)
            attempt = self.lineage.attempt(key, last.number + 1 if last else 1)
            if not attempt.exists():
                continue
            self.backend.cancel(attempt)
            if self.backend.standing(attempt).phase not in ("sealed", "ended", "not_started"):
                raise PausedError(
                    f"the job of {attempt}, which is not wanted any more, does not end", mends_by_itself=True
                )
            remove(attempt)

    def collect(self, state: State, key: JobKey, number: int) -> JobFinished | None:
        """How an attempt of the lineage at `state` ended that is over, or None while it goes on."""
        attempt = self.lineage.attempt(key, number)
        standing = self.backend.standing(attempt)
        said: dict[str, Any] = {
            "job_id": standing.job_id,
            "job_name": standing.job_name,
            "node": standing.node,
            "free": standing.free,
            "bad_node": standing.bad_node,
        }
        match standing.phase:
            case "sealed":
                result = result_if_any(attempt)
                if standing.job_id is None and result is not None:  # the submitter's answer is not to be had
                    said["job_id"] = result.job_id
                digests = (tried.order_sha256 for tried in state.jobs.get(key, []) if tried.number == number)
                changed = other_order(attempt, next(digests, None)) or check_manifest(attempt)
                changed = changed or not_comparable(
                    self.run, key, attempt, first_measured(self.lineage, state)
                )
                return JobFinished.of(key, number, **said, **how_it_ended(key, attempt, changed))
            case "ended":
                self.backend.give_up(attempt)
                if key.kind == "smoke":  # of a training the next attempt may go on from the checkpoint
                    drop_lost(attempt)
                how = {"outcome": standing.outcome, "reason": standing.reason}
                return JobFinished.of(key, number, **said, **how, **NOTHING_SPENT)
            case _:
                return None

    def running(self, state: State) -> list[JobProgress]:
        """What the jobs in flight say of themselves."""
        shown = []
        for key, attempt in state.in_flight():
            directory = self.lineage.attempt(key, attempt.number)
            fraction, text = logs.progress(directory)
            order = directory / ORDER
            elapsed_s = time.time() - order.stat().st_mtime if order.exists() else 0.0
            shown.append(JobProgress(key.text, fraction, text, elapsed_s))
        return shown


def end_words(key: JobKey, ended: JobFinished) -> str:
    """How a job went, for whoever watches."""
    why = "" if ended.outcome == "ok" else f": {ended.reason}"
    why += f" (sealed by {one_line(ended.sealed_by)})" if ended.sealed_by else ""
    return f"job {key.text} {ended.outcome} in {ended.wall_s:.0f} s{why}"


def how_it_ended(key: JobKey, attempt: Path, changed: Sequence[str]) -> dict[str, Any]:
    """What a sealed attempt says of its end, as `job_finished` has it; `changed`: what in it differs."""
    sealed = {"manifest_sha256": sha256_file(attempt / MANIFEST)}
    result = result_if_any(attempt)
    if result is None:
        other = f"the attempt is not as trusted code left it: {attempt / RESULT}: not a result"
        return NOTHING_SPENT | {"outcome": "protected_changed", "reason": other} | sealed
    outcome, reason = result.outcome, result.reason
    if changed:
        outcome = "protected_changed"
        reason = f"the attempt is not as trusted code left it: {changed[0]}"
    elif outcome == "failed" and result.exit_status != 0:
        why = _refusal(attempt) or logs.failure_reason(attempt)
        reason = f"{why} ({reason})" if why else reason
    elif outcome == "ok" and key.kind == "smoke" and (fault := smoke_fault(attempt)):
        outcome, reason = "failed", fault
    kept = ("exit_status", "cpu_s", "gpu_s", "wall_s", "sealed_by", "isolation", "machine")
    said = result.model_dump(include={*kept}) | {"outcome": outcome, "reason": reason}
    said |= {"dropped": result.dropped.words} if result.dropped else {}
    return said | sealed


def other_order(attempt: Path, order_sha256: str | None) -> list[str]:
    """What is wrong with the order of an attempt whose digest is on record; nothing is held to None."""
    if order_sha256 is None or order_digest(attempt) == order_sha256:
        return []
    return [f"{attempt / ORDER}: not the order that is on record"]


def _refusal(attempt: Path) -> str | None:
    """Why the evaluator refused a hand-over, if it did."""
    try:
        found = MetricsFile.model_validate(read_json(attempt / "output" / METRICS))
    except ValueError:  # there is none, or a training wrote what is none
        return None
    return one_line(f"the hand-over was refused: {found.refused}") if found.refused else None
