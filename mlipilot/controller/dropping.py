"""Giving up a candidate that cannot be dealt with, by a person's word, while no controller runs."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from mlipilot.audit.events.running import CandidateDropped, JobFinished
from mlipilot.audit.ledger import Ledger
from mlipilot.audit.lock import controller_lock
from mlipilot.campaign.spec import load_locked
from mlipilot.controller.job_submission import Attempts
from mlipilot.controller.state import Attempt, State, replay
from mlipilot.errors import InputError, MlipilotError, PausedError
from mlipilot.jobs.ending import Tell
from mlipilot.jobs.slurm_job import fate_of_job, this_job
from mlipilot.paths import JobKey, RunPaths
from mlipilot.untrusted import one_line


def drop_candidate(run: RunPaths, number: int, iteration: int, why: str, tell: Tell) -> None:
    """End the jobs of a candidate of lineage `number` and put on record that it is given up.

    Whoever carries the lineage next judges it invalid, or its iteration to be without a proposal. Raises
    InputError unless it is the candidate under way and nobody holds the lineage, and PausedError when a job
    of it goes on.
    """
    lineage = run.lineage(number)
    with controller_lock(lineage.root, this_job(), fate_of_job) as hold:
        ledger = Ledger(lineage.ledger, hold.check)
        state = replay(ledger.records)
        _check_under_way(state, iteration, lineage.ledger)
        attempts = Attempts(run, lineage, load_locked(run.spec).for_lineage(number))
        in_flight = state.in_flight()
        directories = [lineage.attempt(key, attempt.number) for key, attempt in in_flight]
        goes_on = attempts.backend.cancel(*directories, tell=tell)
        if goes_on:
            raise PausedError(f"not dropped: {goes_on}")
        for key, attempt in in_flight:
            ledger.append(_end(attempts, state, key, attempt))
        ledger.append(CandidateDropped(iteration=iteration, why=why))


def _check_under_way(state: State, iteration: int, ledger: Path) -> None:
    under_way = [i for i in state.iterations if not i.judged and (i.proposed or i.drafts)]
    if state.finished is not None or iteration not in [i.number for i in under_way]:
        now = "; ".join(f"that of iteration {i.number} is" for i in under_way) or "there is none"
        raise InputError(
            f"iteration {iteration} has no candidate under way",
            file=ledger,
            mend=f"name one that is: {now}",
        )
    if state.iterations[iteration].dropped is not None:
        raise InputError(f"the candidate of iteration {iteration} is dropped already", file=ledger)


def _end(attempts: Attempts, state: State, key: JobKey, attempt: Attempt) -> JobFinished:
    """How an attempt ended; of one whose end nobody can tell, that it is given up."""
    number, said = attempt.number, "its end is not known"
    try:
        ended = attempts.collect(state, key, number)
        if ended is not None:
            return ended
    except (MlipilotError, OSError, ValueError) as error:  # it may be what the candidate is dropped for
        said = one_line(str(error))
    with suppress(MlipilotError, OSError):
        attempts.backend.give_up(attempts.lineage.attempt(key, number))
    reason = f"given up with its candidate: {said}"
    spent = {"cpu_s": 0.0, "gpu_s": 0.0, "wall_s": 0.0}
    return JobFinished.of(key, number, outcome="cancelled", reason=reason, **spent, manifest_sha256=None)
