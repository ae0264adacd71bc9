"""What a campaign would run, counted from its spec alone."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

from mlipilot.campaign.seeds import check_seeds
from mlipilot.campaign.spec import Campaign
from mlipilot.controller.job_submission import Attempts
from mlipilot.jobs.container_commands import PYTHON, container_argv
from mlipilot.paths import JobKey, RunPaths


def make_plan(campaign: Campaign) -> dict[str, Any]:
    """Upper bounds and example command lines; JSON-able.

    Bounds hold for jobs that are not lost: an attempt lost by the machine is run again. Raises InputError
    where lineages would share a seed.
    """
    spec = campaign.spec
    check_seeds(spec.seeds, campaign.written, campaign.path)
    candidates = spec.budget.iterations + 1
    seeds = len(spec.seeds)
    fresh = (spec.confirm.most_seeds or spec.confirm.seeds) if spec.confirm else 0
    confirming = candidates * fresh if candidates > 1 else 0  # where all is kept
    if confirming and spec.confirm is not None:
        confirming += spec.confirm.permuted_labels
    trainings = candidates * seeds + confirming
    sealed_with = fresh if confirming else seeds
    evaluations = trainings + 2 * sealed_with  # the sealed check of baseline and incumbent
    # A draft comes back after each failed smoke step but the last, and once from the reviewer.
    smokes = 1 + spec.pilot.smoke_retries if spec.jobs.smoke else 0
    turns = max(1, smokes) + (spec.pilot.endpoint("reviewer") is not None)
    train_s, evaluate_s = spec.jobs.train_wall_limit_s, spec.jobs.evaluate_wall_limit_s
    smoke_s = smokes * spec.jobs.smoke_wall_limit_s  # one after the other
    side_by_side = min(spec.jobs.attempts_in_flight, seeds)
    job_s = trainings * train_s + evaluations * evaluate_s + spec.budget.iterations * smoke_s
    if spec.budget.cpu_seconds is not None:
        # The budget is checked before each hypothesis: one candidate may still run past it.
        past = smoke_s + seeds * (train_s + 2 * evaluate_s) + seeds * evaluate_s
        past += confirming * (train_s + evaluate_s)  # a budget does not bound what follows the search
        job_s = min(job_s, spec.budget.cpu_seconds + past)
    smoke_total_s = min(job_s, spec.budget.iterations * smoke_s)
    wall_s = (job_s - smoke_total_s) / side_by_side + smoke_total_s
    pilot_requests = spec.budget.iterations * turns * spec.pilot.requests_per_turn
    return {
        "campaign": spec.name,
        "profile": spec.profile,
        "pilot": ", ".join(pilot.label for pilot in spec.pilots or [spec.pilot]),
        "bounds": {
            "candidates (the baseline included)": candidates,
            "training seeds of each": seeds,
            "fresh seeds of each that is kept": fresh or "none: nothing is confirmed",
            "smoke steps": spec.budget.iterations * smokes,
            "trainings": trainings,
            "optimiser steps of each training, by its recipe": spec.budget.optimizer_steps,
            "machine seconds of each training, times the baseline's": (
                spec.budget.training_seconds_over_baseline or "not bounded"
            ),
            "evaluations": evaluations,
            "job-hours (sum of the time limits)": round(job_s / 3600, 2),
            "wall hours of jobs": round(wall_s / 3600, 2),
            "requests to the pilot": pilot_requests,
            "completion tokens of the pilot": pilot_requests * spec.pilot.max_tokens,
        },
        "commands": [shlex.join(argv) for argv in _example_commands(campaign)],
        "scripts": _scripts(campaign),
        "spec": spec.model_dump(mode="json"),
    }


def _example_commands(campaign: Campaign) -> list[list[str]]:
    """The command lines of the baseline's first training and evaluation, as the backend runs them."""
    spec = campaign.spec
    run = RunPaths(Path("runs").resolve() / spec.name)
    lineage = run.lineage(0)
    on_slurm = spec.jobs.backend == "slurm"
    attempts = Attempts(run, lineage, spec, python=PYTHON if on_slurm else sys.executable)
    lines = []
    for kind in ("train", "evaluate"):
        key = JobKey(0, spec.seeds[0], "train" if kind == "train" else "evaluate")
        order = attempts.order(key, 1, trained=1)
        argv = order.argv
        if on_slurm:
            image = Path(os.environ.get("MLIPILOT_IMAGE") or "IMAGE.sif")
            argv = [*container_argv(order, lineage.attempt(key, 1), image, network="none"), *argv]
        lines.append(argv)
    return lines


def _scripts(campaign: Campaign) -> dict[str, str]:
    """The batch scripts that Slurm would be given, by name, from the checkout that holds the campaign."""
    if campaign.spec.jobs.backend != "slurm":
        return {}
    names = ("fused",) if campaign.spec.jobs.chain == "fused" else ("train", "evaluate")
    folder = campaign.path.resolve().parent.parent / "sbatch"
    shared = ("job.sh", "common.sh", "container.sh")
    paths = [folder / name for name in (*(f"{name}.sbatch" for name in names), *shared)]
    return {path.name: path.read_text(encoding="utf-8") for path in paths if path.is_file()}
