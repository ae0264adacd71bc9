"""Who is told how a run goes: the command line's console, or nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class JobProgress:
    """How far a running job is; `fraction` in 0…1 where the job says so."""

    name: str
    fraction: float | None
    text: str
    elapsed_s: float


class Observer(Protocol):
    """Told of each event once and, while it is live, of the running jobs again and again."""

    @property
    def is_live(self) -> bool:
        """Whether it shows how jobs get on: finding that out costs reading their logs."""

    def event(self, text: str) -> None:
        """Something happened that belongs in a log."""

    def data_progress(self, done: int, total: int, what: str) -> None:
        """The data set's builder got on."""

    def jobs(self, running: Sequence[JobProgress]) -> None:
        """The jobs that run now; called often, to be drawn over."""


class Silent:
    """An observer that shows nothing."""

    is_live = False

    def event(self, text: str) -> None:
        """Ignore."""

    def data_progress(self, done: int, total: int, what: str) -> None:
        """Ignore."""

    def jobs(self, running: Sequence[JobProgress]) -> None:
        """Ignore."""
