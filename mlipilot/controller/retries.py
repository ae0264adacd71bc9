"""When a job is tried again: one without a result says nothing of its candidate, but many pause the run."""

from __future__ import annotations

from collections.abc import Sequence

from mlipilot.controller.state import NO_RESULT, NOT_RUN, Attempt


def next_attempt(job: str, attempts: Sequence[Attempt], max_attempts: int) -> int | str | None:
    """The number of the attempt to start, the reason why the run pauses, or None: it runs or has a result.

    Attempts before a person resumed the run are forgiven; what was refused once is not tried a second time.
    """
    if not attempts:
        return 1
    last = attempts[-1]
    if last.outcome not in NO_RESULT:
        return None
    why = last.ended and last.ended.reason
    if last.outcome in NOT_RUN and not last.forgiven:
        return f"job {job} was not run: {why}"
    counted = [attempt for attempt in attempts if not attempt.forgiven]  # none before had a result
    if len(counted) < max_attempts:
        return last.number + 1
    how = " or ".join(sorted({str(attempt.outcome) for attempt in counted}))
    times = f"{len(counted)} time{'s' if len(counted) > 1 else ''}"
    return f"job {job} was {how} {times} without a result: {why}; find out what ends it, then resume"
