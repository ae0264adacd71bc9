"""Asking that a lineage which is over confirms what it kept, by a person's word, while no controller runs."""

from __future__ import annotations

from mlipilot.audit.events.concluding import ConfirmationAsked
from mlipilot.audit.ledger import Ledger
from mlipilot.audit.lock import controller_lock
from mlipilot.campaign.extent import Confirmation
from mlipilot.controller.confirmation import why_not_to_be_asked
from mlipilot.controller.state import replay
from mlipilot.errors import InputError
from mlipilot.jobs.slurm_job import fate_of_job, this_job
from mlipilot.paths import RunPaths


def ask_confirmation(run: RunPaths, number: int, wanted: Confirmation) -> None:
    """Put on record that lineage `number` is to confirm; who carries it next does so.

    Raises InputError where there is nothing to confirm, or where that has been done.
    """
    lineage = run.lineage(number)
    with controller_lock(lineage.root, this_job(), fate_of_job) as hold:
        ledger = Ledger(lineage.ledger, hold.check)
        if (why := why_not_to_be_asked(replay(ledger.records))) is not None:
            raise InputError(why, file=lineage.ledger)
        ledger.append(ConfirmationAsked(**wanted.model_dump()))
