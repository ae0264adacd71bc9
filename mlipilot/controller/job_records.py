"""What becomes of jobs, put on record and told."""

from __future__ import annotations

from collections.abc import Iterable

from mlipilot.audit.events.running import JobFinished, JobSubmitted
from mlipilot.audit.ledger import Ledger
from mlipilot.controller.isolation_words import LOCAL, doors_of
from mlipilot.controller.job_submission import end_words
from mlipilot.controller.observer import Observer


def note_jobs(ledger: Ledger, observer: Observer, events: Iterable[JobSubmitted | JobFinished]) -> None:
    """Append them in this order and tell the observer, also of a door that was open to none before."""
    for event in events:
        known = {LOCAL, *doors_of(ledger.records)}
        ledger.append(event)
        for door in doors_of(ledger.records):
            if door not in known:
                observer.event(f"warning: {door}")
        if isinstance(event, JobSubmitted):
            again = f" (attempt {event.attempt})" if event.attempt > 1 else ""
            observer.event(f"job {event.key.text} starts{again}")
            continue
        observer.event(end_words(event.key, event))
