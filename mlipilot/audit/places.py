"""Where a lineage was carried: lineages of several clusters that were copied together are one run.

The ledger says it each time that a controller begins or goes on: of which cluster its Slurm job was, and in
which directory the run lay.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from mlipilot.audit.ledger import Record
from mlipilot.untrusted import one_line

_SESSIONS = ("campaign_started", "resumed")


class Place(NamedTuple):
    """None is what the ledger does not say: a local process is of no cluster."""

    cluster: str | None = None
    run: str | None = None

    @property
    def body(self) -> dict[str, str | None]:
        """How a ledger's record says it."""
        return {"cluster": self.cluster, "run": self.run}

    @property
    def words(self) -> str:
        """For people."""
        on = f"on cluster {self.cluster}, " if self.cluster else ""
        return one_line(f"{on}in {self.run or 'a directory that its ledger does not name'}", 300)

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Place:
        """What the body of a record says, which another machine may have written."""
        cluster, run = (body.get(name) for name in ("cluster", "run"))
        return cls(str(cluster) if cluster else None, str(run) if run else None)


def place_at_start(records: Iterable[Record]) -> Place:
    """Where the lineage was begun."""
    return next((Place.of(r.body) for r in records if r.kind == "campaign_started"), Place())


def clusters_by_record(records: Iterable[Record]) -> list[str | None]:
    """Of each record: the cluster of the controller that wrote it."""
    found: list[str | None] = []
    for record in records:
        here = found[-1] if found else None
        found.append(Place.of(record.body).cluster if record.kind in _SESSIONS else here)
    return found


def clusters_of(records: Iterable[Record]) -> list[str]:
    """The clusters on which the lineage was carried, in order, each once."""
    return list(dict.fromkeys(one_line(name, 60) for name in clusters_by_record(records) if name))
