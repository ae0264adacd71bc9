"""Whether controllers can have come and gone as a ledger says: by its order, and by their claims' files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mlipilot.audit.claims import claim_file
from mlipilot.audit.events.running import CampaignStarted, Resumed
from mlipilot.audit.ledger import Record
from mlipilot.campaign.spec import CampaignSpec
from mlipilot.controller.state import State
from mlipilot.paths import LineagePaths
from mlipilot.pilots.addresses import asks_the_run


class Sessions:
    """The sessions of a lineage, each of them one controller's.

    A claim's file stays when its controller lets go, empty: one more session takes one more file. Whoever
    puts that there as well is not found.
    """

    def __init__(self, lineage: LineagePaths, spec: CampaignSpec, records: Sequence[Record]) -> None:
        self._folder, self._records = lineage.controller, records
        # Where the model's job was lost, the controller that holds the claim begins anew.
        self._begins_anew = spec.jobs.backend == "slurm" and asks_the_run(spec.pilot)

    def faults(self, record: Record, before: State) -> Iterator[str]:
        """Why a controller cannot have taken the lineage up as a record says, where it stood at `before`."""
        event = record.event
        if not isinstance(event, CampaignStarted | Resumed):
            return
        if isinstance(event, Resumed) and before.started is None:
            yield "no record says how the lineage began that it takes up"
        if isinstance(event, Resumed) and event.unattended and before.cancelled:
            yield "what was cancelled is not taken up unless a person asks for it"
        last = self._last_epoch(record)
        if event.epoch is None:
            if last is not None:
                yield f"it has no epoch, and the session before it had {last}"
            return
        if last is not None and (event.epoch < last or (event.epoch == last and not self._begins_anew)):
            yield f"epoch {event.epoch} does not follow that of the session before it, {last}"
        if not (claim := claim_file(self._folder, event.epoch)).is_file():
            yield f"there is no claim {claim}, and none is ever removed"

    def _last_epoch(self, record: Record) -> int | None:
        """That of the session before, or None where there was none, or an earlier version's."""
        sessions = (
            each.event
            for each in reversed(self._records[: record.seq])
            if isinstance(each.event, CampaignStarted | Resumed)
        )
        last = next(sessions, None)
        return None if last is None else last.epoch
