"""What lies where the controller has put nothing yet: on local processes code of a candidate can leave it.

It would be taken for what trusted code did: an order, or an attempt that is sealed already. A kill leaves
none of it: first comes the record with the digest of the order, then the directory, then `job.json` in it,
then a worker. So the directory of an attempt on record that has not begun is not there, or empty, or has that
order in it.

In Slurm's jobs a container shows a candidate no attempt but its own, and evaluations are queued behind their
trainings, ahead of the ledger: nothing of this is asked there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from mlipilot.audit.discarding import remove
from mlipilot.audit.events.running import JobFinished, JobSubmitted, Outcome
from mlipilot.controller.job_submission import NOTHING_SPENT, Attempts
from mlipilot.controller.state import Attempt, State
from mlipilot.errors import PausedError
from mlipilot.jobs.job_files import order_digest, read_order
from mlipilot.paths import CLAIM, ORDER, JobKey
from mlipilot.untrusted import few, one_line

NOT_BEGUN = (
    "it had not begun where the run was before",
    "it had not begun, and its order would be another one now",
)
"""Why an attempt is free that an earlier start of the run had put on record, and that has not begun."""


class Planting:
    """Looks at the places of a lineage's attempts. What it finds is removed, and voids the attempt."""

    def __init__(self, attempts: Attempts) -> None:
        self._attempts, self._lineage = attempts, attempts.lineage

    def submit(self, state: State, key: JobKey, number: int) -> Iterator[JobSubmitted | JobFinished]:
        """The record of an attempt that is due, and that of its end if something lies in its way.

        Raises PausedError for what cannot be removed.
        """
        if not self._attempts.is_local:
            return iter([JobSubmitted.of(key, number)])
        job = self._lineage.job(key)
        first = job.parent if key.kind == "train" else job
        place = first if number == 1 else self._lineage.attempt(key, number)
        return self._records(state, key, number, [place] if os.path.lexists(place) else [])

    def of_judged(self, state: State, number: int) -> Iterator[JobSubmitted | JobFinished] | None:
        """Records that make a candidate invalid which left attempts that nobody asked for, or later work.

        None where it did not, or is invalid anyhow. Raises as `submit` does.
        """
        found = self._unrecorded(state, number) if self._attempts.is_local else []
        keys = [JobKey(number, seed, "evaluate") for seed in self._attempts.spec.seeds]
        last = [each.number for key in keys if (each := state.last(key)) and each.outcome == "ok"]
        if found and len(last) == len(keys):
            return self._records(state, keys[0], last[0] + 1, found)
        remove(*found)
        return None

    def _records(
        self, state: State, key: JobKey, number: int, found: list[Path]
    ) -> Iterator[JobSubmitted | JobFinished]:
        """Each is made once the one before is in the ledger: what was found is found again after a kill."""
        yield JobSubmitted.of(key, number, order_sha256=self._attempts.due_order(state, key, number).sha256)
        if found:
            yield self._planted(key, number, found)

    def not_to_begin(self, state: State) -> list[JobFinished]:
        """The ends of attempts in flight that must not begin as they lie there. Raises as `submit` does."""
        ends = (self._not_to_begin(state, key, attempt) for key, attempt in state.in_flight())
        return [end for end in ends if end is not None]

    def _unrecorded(self, state: State, number: int) -> list[Path]:
        attempts = {self._lineage.attempt(key, a.number) for key, tried in state.jobs.items() for a in tried}
        iteration = self._lineage.iteration(number)
        found = [path for path in iteration.glob("seed-*/*/attempt-*") if path not in attempts]
        numbered = (path for path in iteration.parent.iterdir() if path.name.isdecimal())
        found += [path for path in numbered if int(path.name) > number]
        begun = {self._lineage.job(key).parents[1 if key.kind == "sealed" else 2] for key in state.jobs}
        later = {self._lineage.job(JobKey(0, 0, "sealed")).parents[1], self._lineage.confirmation}
        return sorted([*found, *filter(os.path.lexists, later - begun)])

    def _planted(self, key: JobKey, number: int, found: list[Path]) -> JobFinished:
        """The fault of the candidate; what follows the search, where others have run, is tried again."""
        names = [ascii(str(path.relative_to(self._lineage.root)))[1:-1] for path in found]
        reason = one_line(f"there before its time, and removed: {few(names)}")
        outcome: Outcome = "lost" if key.kind == "sealed" or key.fresh else "protected_changed"
        return _removed(key, number, found, outcome=outcome, reason=reason)

    def _not_to_begin(self, state: State, key: JobKey, attempt: Attempt) -> JobFinished | None:
        directory = self._lineage.attempt(key, attempt.number)
        if attempt.order_sha256 is None or os.path.lexists(directory / CLAIM):
            return None
        there, outcome, is_free = order_digest(directory), "protected_changed", False
        if there == attempt.order_sha256:
            if read_order(directory).run == str(self._attempts.run.root):
                return None
            why, is_free = NOT_BEGUN[0], True
        elif there is not None:
            why = f"{directory / ORDER} was not the order that is on record"
        elif left := _left_in(directory):
            why = f"there was something in {directory} before it began: {few(left)}"
        elif self._attempts.due_order(state, key, attempt.number).sha256 == attempt.order_sha256:
            return None
        else:  # a controller with another environment, say, goes on after a kill
            why, is_free = NOT_BEGUN[1], True
        if directory.is_dir() and not directory.is_symlink():
            self._attempts.backend.cancel(directory)  # a worker may be there that has claimed nothing yet
        how = {"outcome": "lost" if is_free else outcome, "reason": one_line(why), "free": is_free}
        return _removed(key, attempt.number, [directory], **how)


def _removed(key: JobKey, number: int, found: list[Path], **how: object) -> JobFinished:
    remove(*found)
    left = [path for path in found if os.path.lexists(path)]
    if left:
        raise PausedError(f"{left[0]} is in the way of job {key.text}: remove it, then resume")
    return JobFinished.of(key, number, **how, **NOTHING_SPENT)


def _left_in(attempt: Path) -> list[str]:
    """Names in an attempt's directory, but of an order that a kill left half written; or its own."""
    if not os.path.lexists(attempt):
        return []
    if attempt.is_symlink() or not attempt.is_dir():
        return [ascii(attempt.name)[1:-1]]
    return sorted(
        ascii(path.name)[1:-1] for path in attempt.iterdir() if not path.name.startswith(f".{ORDER}.")
    )
