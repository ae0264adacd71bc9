"""The jobs of a run by name and number: where those in flight stand, and how the others ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlipilot.controller.state import Attempt
from mlipilot.jobs.inflight import InFlight
from mlipilot.paths import JobKey
from mlipilot.report.text import duration
from mlipilot.report.view import LineageView
from mlipilot.untrusted import one_line

_WORDS = {
    "running": "running",
    "pending": "pending",
    "held": "held",
    "unsubmitted": "not submitted",
    "refused": "refused",
    "ending": "ending",
}


@dataclass(frozen=True)
class JobRow:
    """One attempt. `state` is how it stands or ended; `why` is Slurm's reason, or that of its end."""

    job: str
    attempt: int
    state: str
    why: str
    job_id: str | None
    job_name: str | None
    node: str | None


def in_flight_lines(jobs: Sequence[InFlight]) -> list[str]:
    """A line for each way in which jobs stand, and one for each thing that a person can do about it."""
    lines = []
    for phase, word in _WORDS.items():
        those = [job for job in jobs if job.phase == phase]
        if those:
            lines.append(f"{word}: " + ", ".join(_in_words(job) for job in those))
    mends = dict.fromkeys(f"{job.job} ({job.reason}): {job.mend}" for job in jobs if job.mend)
    return lines + list(mends)


def _in_words(job: InFlight) -> str:
    """`0000/seed-11/train (job 42, Resources, for 12 min)`."""
    state = job.state if job.state not in ("", "RUNNING", "PENDING") else ""
    known = [
        f"job {job.job_id}" if job.job_id else "",
        f"on {job.node}" if job.node else "",
        state,
        job.reason,
    ]
    if job.since_s is not None and job.since_s >= 1:
        known.append(f"for {duration(job.since_s)}")
    said = ", ".join(part for part in known if part)
    return f"{job.job} ({said})" if said else job.job


def job_rows(view: LineageView, iteration: int) -> list[JobRow]:
    """Every attempt of an iteration's jobs, in the order of their submission."""
    standing = {(job.job, job.attempt): job for job in view.in_flight}
    return [
        _row(key, attempt, standing.get((key.text, attempt.number)))
        for key, attempts in view.state.jobs.items()
        if key.iteration == iteration
        for attempt in attempts
    ]


def _row(key: JobKey, attempt: Attempt, job: InFlight | None) -> JobRow:
    if attempt.ended is None and job is not None:
        state = f"{_WORDS[job.phase]}{f': {job.state}' if job.state else ''}"
        return JobRow(key.text, attempt.number, state, job.reason, job.job_id, job.job_name, job.node)
    if attempt.ended is None:
        return JobRow(key.text, attempt.number, "", "", None, None, None)
    ended = attempt.ended
    return JobRow(
        job=key.text,
        attempt=attempt.number,
        state=ended.outcome,
        why=one_line("; ".join(filter(None, (ended.reason, ended.dropped))), 300),
        job_id=_text(ended.job_id),
        job_name=_text(ended.job_name),
        node=_text(ended.node),
    )


def _text(value: str | None) -> str | None:
    return None if value is None else one_line(value, 120)
