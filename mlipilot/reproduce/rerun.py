"""Running an iteration's jobs again, in a directory laid out as a run, by the jobs' own machinery."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from mlipilot.audit.files import write_atomic
from mlipilot.audit.ledger import GENESIS
from mlipilot.campaign.spec import CampaignSpec, dump_spec, load_locked
from mlipilot.controller.confirmation import asked_for
from mlipilot.controller.job_submission import Attempts, end_words
from mlipilot.controller.observer import Observer
from mlipilot.controller.prepare import salt_of
from mlipilot.controller.publishing import copy_recipe
from mlipilot.controller.state import Attempt, State
from mlipilot.controller.variants import make_variant
from mlipilot.errors import InputError
from mlipilot.jobs.container_commands import PYTHON, Container
from mlipilot.jobs.job_settings import JobSettings
from mlipilot.jobs.local_backend import LocalBackend
from mlipilot.jobs.processes import hide_from_same_user
from mlipilot.paths import JobKey, RunPaths
from mlipilot.reproduce.record import Recorded

# Steps are what a training is budgeted in; a slower machine must not fail by the clock.
_SLOWER = 4


def claim_output(output: Path, run: RunPaths) -> None:
    """Make `output` unless it is there. Raises InputError unless it is empty and outside the run."""
    if output.is_relative_to(run.root):
        raise InputError(
            "a reproduction does not write into the run", file=output, mend="name another --output"
        )
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError("the output is not an empty directory", file=output, mend="name another --output")
    output.mkdir(parents=True, exist_ok=True)


def lay_out(record: Recorded, output: RunPaths) -> None:
    """Write what the jobs need: the run's spec with the salt of its data, its scorecard, the recipe."""
    write_atomic(output.spec, dump_spec(_with_its_salt(load_locked(record.run.spec), record.run)))
    shutil.copyfile(record.run.scorecard, output.scorecard)
    recipe = output.lineage(record.lineage.number).recipe(record.iteration)
    recipe.parent.mkdir(parents=True)
    copy_recipe(record.recipe, recipe)


def _with_its_salt(spec: CampaignSpec, run: RunPaths) -> CampaignSpec:
    salt = salt_of(run.root)
    options = spec.dataset.options | ({} if salt is None else {"salt": salt})
    return spec.model_copy(update={"dataset": spec.dataset.model_copy(update={"options": options})})


def attempts_of(record: Recorded, output: RunPaths, container: Container | None = None) -> Attempts:
    """Orders for the iteration's jobs in `output`, on local workers whatever the run had."""
    lineage = output.lineage(record.lineage.number)
    asked = asked_for(record.state, record.spec)  # which may be a person's word
    spec = record.spec.model_copy(update={"jobs": jobs_here(record.spec.jobs), "confirm": asked})
    if container is None:
        return Attempts(output, lineage, spec)
    return Attempts(output, lineage, spec, LocalBackend(container), PYTHON)


def jobs_here(jobs: JobSettings) -> JobSettings:
    """What a run's settings of jobs become on this machine: local, and with more time."""
    limits = {
        "backend": "local",
        "train_wall_limit_s": _SLOWER * jobs.train_wall_limit_s,
        "evaluate_wall_limit_s": _SLOWER * jobs.evaluate_wall_limit_s,
    }
    return jobs.model_copy(update=limits)


def run_jobs(attempts: Attempts, trainings: Sequence[JobKey], observer: Observer) -> State:
    """Train, and evaluate what was trained; how each job ended is in the state that is returned."""
    hide_from_same_user()  # a candidate's code runs as this user
    state = State()
    due = list(trainings)
    with ExitStack() as ends:  # leaves no job behind, for nobody would collect it
        while due or state.in_flight():
            while due and len(state.in_flight()) < attempts.spec.jobs.attempts_in_flight:
                key = due.pop(0)
                make_variant(attempts.run, attempts.lineage, attempts.spec, state, key)
                ends.callback(attempts.backend.cancel, attempts.lineage.attempt(key, 1))
                attempts.ensure_started(state, [(key, 1)], GENESIS)
                state.jobs[key] = [Attempt(1)]
                observer.event(f"job {key.text} starts")
            time.sleep(attempts.backend.poll_s)
            due += _collect(attempts, state, observer)
            observer.jobs(attempts.running(state))
    return state


def _collect(attempts: Attempts, state: State, observer: Observer) -> list[JobKey]:
    """Note the jobs that have ended; returns the evaluations that are due now."""
    due = []
    for key, attempt in state.in_flight():
        attempt.ended = attempts.collect(state, key, attempt.number)
        if attempt.ended is None:
            continue
        observer.event(end_words(key, attempt.ended))
        if key.kind == "train" and attempt.outcome == "ok":
            due.append(key.beside("evaluate"))
    return due


def failures(state: State) -> list[str]:
    """One line for each job that did not end as it did in the run."""
    return [
        f"{key.text} {last.outcome}: {last.ended and last.ended.reason}"
        for key, (*_, last) in sorted(state.jobs.items())
        if last.outcome != "ok"
    ]
