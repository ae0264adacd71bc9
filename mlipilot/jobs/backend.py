"""What a backend is: the one thing that the loop knows of how jobs run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from mlipilot.jobs.ending import silently
from mlipilot.jobs.job_files import JobOrder

Phase = Literal["not_started", "waiting", "running", "sealed", "ended"]


@dataclass(frozen=True)
class Standing:
    """Where an attempt stands.

    `sealed`: its manifest is there. `ended`: it is over without one, and `outcome` says how; `free` when the
    fault was the cluster's own, so that the attempt is not counted. `bad_node`: better avoided from now on.
    """

    phase: Phase
    outcome: Literal["lost", "failed", "time_limit", "cancelled", "not_storable", "protected_changed"] = (
        "lost"
    )
    reason: str = ""
    free: bool = False
    bad_node: str | None = None
    job_id: str | None = None
    job_name: str | None = None
    node: str | None = None


@dataclass(frozen=True)
class Submission:
    """One attempt to be started; `anchor` is the ledger's head, for the job's name in the queue.

    `then` is the attempt that will follow if this one ends well; a backend may queue it at once.
    """

    attempt: Path
    order: JobOrder
    anchor: str
    kind: Literal["train", "evaluate"]
    avoid_nodes: Sequence[str] = ()
    then: Submission | None = None


class Backend(Protocol):
    """Starts attempts, says where they stand, ends them.

    What was started and how it ended is in files alone. What a backend holds besides are clocks, since when
    it has seen something missing, over or silent, and handles of its child processes. The one that follows a
    kill has none of them: its clocks begin anew, so that it says what the other would have said, but later.
    """

    poll_s: float

    def wait(self, stop: Callable[[], bool]) -> None:
        """Return when an attempt may have got on, and when `stop` says so; within a minute anyhow."""

    def ensure_started(self, *works: Submission) -> None:
        """Start attempts of one candidate unless they have been; harmless when called again after a kill."""

    def standing(self, attempt: Path) -> Standing:
        """Where an attempt stands. Raises PausedError when that cannot be known for too long."""

    def give_up(self, attempt: Path) -> None:
        """Have nothing begin or seal an attempt any more that `ended`: that is about to be recorded."""

    def cancel(self, *attempts: Path, tell: Callable[[str], None] = silently) -> str:
        """End attempts and wait until they are over; `tell` hears what is waited for.

        Returns what may go on all the same and who can end it, in words; empty as a rule.
        """
