"""Where a lineage was carried: lineages of several clusters that were copied together are one run.

The ledger says it each time that a controller begins or goes on: of which cluster its Slurm job was, and in
which directory the run lay.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from mlipilot.audit.events.running import CampaignStarted, Resumed
from mlipilot.audit.ledger import Record
from mlipilot.untrusted import one_line


class Place(NamedTuple):
    """None is what the ledger does not say: a local process is of no cluster."""

    cluster: str | None = None
    run: str | None = None

    @property
    def words(self) -> str:
        """For people."""
        on = f"on cluster {self.cluster}, " if self.cluster else ""
        return one_line(f"{on}in {self.run or 'a directory that its ledger does not name'}", 300)

    @classmethod
    def of(cls, session: CampaignStarted | Resumed) -> Place:
        """Where a controller took the lineage up, which another machine may have written."""
        return cls(session.cluster or None, session.run or None)


def clusters_by_record(records: Iterable[Record]) -> list[str | None]:
    """Of each record: the cluster of the controller that wrote it."""
    found: list[str | None] = []
    for record in records:
        here = found[-1] if found else None
        event = record.event
        found.append(Place.of(event).cluster if isinstance(event, CampaignStarted | Resumed) else here)
    return found


def clusters_of(records: Iterable[Record]) -> list[str]:
    """The clusters on which the lineage was carried, in order, each once."""
    return list(dict.fromkeys(one_line(name, 60) for name in clusters_by_record(records) if name))
