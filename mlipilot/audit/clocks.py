"""Whether the times of a ledger's records can be what clocks said when they were written.

Times of one lineage are compared, since another one's may be of another site. A time that was changed between
those of its neighbours, or of the first record to an earlier one, is not found.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from mlipilot.audit.events.proposing import Exchange
from mlipilot.audit.events.running import (
    CampaignStarted,
    Cancelled,
    CandidateDropped,
    JobFinished,
    LedgerRepaired,
    Paused,
    Resumed,
)
from mlipilot.audit.ledger import Record
from mlipilot.audit.verification_result import Verification

CLOCKS = timedelta(minutes=10)
"""By which those of two machines may differ, and one may be set back; Slurm itself allows five."""
_BY_ANOTHER = (CampaignStarted, Resumed, LedgerRepaired, Paused, Cancelled, CandidateDropped)
_FOUND_BY_IT = (JobFinished, Exchange)  # what such a controller or verb puts on record before


def verify_times(path: Path, records: Sequence[Record], found: Verification) -> None:
    """Name each record of the ledger `path` that is earlier than the one before it, and one of the future.

    It fails the check where one controller has written both records. Where another may have taken over, on a
    machine whose clock is wrong, and of what this machine's clock has not reached, it is a note.
    """
    for before, record in pairwise(records):
        back = _time(before) - _time(record)
        if back > CLOCKS:
            said = f"{_place(path, record)} {back} before that of the record before it"
            next_ = next((r for r in records[record.seq :] if not isinstance(r.event, _FOUND_BY_IT)), None)
            if next_ is None or isinstance(next_.event, _BY_ANOTHER):
                found.notes.append(f"{said}: the clocks of two machines differ, or it was changed")
            else:
                found.problems.append(f"{said}: it was changed, or this clock was set back meanwhile")
    latest = max(records, key=_time)
    if (ahead := _time(latest) - datetime.now(UTC)) > CLOCKS:
        found.notes.append(f"{_place(path, latest)} {ahead} from now: a clock is wrong, or it was changed")


def _time(record: Record) -> datetime:
    return datetime.fromisoformat(record.time)


def _place(path: Path, record: Record) -> str:
    return f"{path}:{record.seq + 1}: {record.event.kind}.time: {record.time} is"
