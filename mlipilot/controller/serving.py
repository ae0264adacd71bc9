"""Which lineages have their model served by a job of the run, and when that job is needed no more."""

from __future__ import annotations

import os

from mlipilot.audit.ledger import LedgerError, read_ledger
from mlipilot.campaign.spec import CampaignSpec, load_locked
from mlipilot.controller.next_steps import is_search_over
from mlipilot.controller.observer import Observer
from mlipilot.controller.state import State, replay
from mlipilot.jobs.endpoint_job import EndpointJob, is_wanted
from mlipilot.jobs.slurm_backend import SlurmBackend
from mlipilot.paths import LineagePaths, RunPaths
from mlipilot.pilots.addresses import asks_the_run

_NEEDS_NO_MODEL = ("finished", "cancelled", "paused")
"""Phases of a lineage that asks for nothing more unless a person has it go on."""


def endpoint_job(run: RunPaths, number: int, observer: Observer) -> EndpointJob | None:
    """The job that serves a lineage's model, or None where its address is found otherwise."""
    spec = load_locked(run.spec)
    if not _asks_a_job(spec, number):
        return None
    return EndpointJob(run, SlurmBackend(run.root, run.spool, spec.jobs), observer.event)


def end_if_last(job: EndpointJob | None, run: RunPaths, number: int) -> None:
    """End the job unless another lineage of the campaign needs it, or will."""
    if job is None:
        return
    spec = load_locked(run.spec)
    others = {*_submitted_together(number), *(lineage.number for lineage in run.lineages())} - {number}
    if not any(_asks_a_job(spec, n) and _needs_model(spec.for_lineage(n), run.lineage(n)) for n in others):
        job.end()


def _submitted_together(number: int) -> range:
    """The lineages that `sbatch/campaign.sh` says were submitted with lineage `number`."""
    first, _, last = (os.environ.get("MLIPILOT_LINEAGES") or f"{number}-{number}").partition("-")
    return range(int(first), int(last) + 1)


def _asks_a_job(spec: CampaignSpec, number: int) -> bool:
    return spec.jobs.backend == "slurm" and is_wanted() and asks_the_run(spec.for_lineage(number).pilot)


def phase_of(lineage: LineagePaths) -> str:
    """How far a lineage is, as `State.phase` has it; empty where its ledger cannot be read, or is written."""
    state = _state_of(lineage)
    return "" if state is None else state.phase


def _needs_model(spec: CampaignSpec, lineage: LineagePaths) -> bool:
    """Whether a lineage may ask its pilot yet, as far as its ledger can be read."""
    state = _state_of(lineage)
    return state is None or not (state.phase in _NEEDS_NO_MODEL or is_search_over(state, spec))


def _state_of(lineage: LineagePaths) -> State | None:
    try:
        return replay(read_ledger(lineage.ledger))
    except LedgerError:
        return None
