"""`mlipilot resume`: go on with a run that was interrupted, paused or cancelled."""

from __future__ import annotations

from mlipilot.cli.carry import carry_on
from mlipilot.cli.types import Lineage, RunDirectory, existing_run


def resume(run: RunDirectory, lineage: Lineage = 0) -> None:
    """Go on with a run where its ledger ends; nothing runs twice."""
    carry_on(existing_run(run), lineage)
