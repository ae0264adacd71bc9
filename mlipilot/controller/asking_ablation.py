"""Asking what each confirmed step of a lineage is worth, by a person's word, while no controller runs."""

from __future__ import annotations

from mlipilot.audit.events.concluding import AblationAsked
from mlipilot.audit.ledger import Ledger
from mlipilot.audit.lock import controller_lock
from mlipilot.controller.ablation import to_take_out, why_not_to_be_ablated
from mlipilot.controller.state import replay
from mlipilot.errors import InputError
from mlipilot.jobs.slurm_job import fate_of_job, this_job
from mlipilot.paths import RunPaths


def ask_ablation(run: RunPaths, number: int) -> AblationAsked:
    """Put on record that lineage `number` is to be ablated; who carries it next does so.

    Raises InputError where there is nothing to take out, or where that has been done.
    """
    lineage = run.lineage(number)
    with controller_lock(lineage.root, this_job(), fate_of_job) as hold:
        ledger = Ledger(lineage.ledger, hold.check)
        state = replay(ledger.records)
        if (why := why_not_to_be_ablated(state)) is not None:
            raise InputError(why, file=lineage.ledger)
        asked = to_take_out(state, lineage)
        ledger.append(asked)
        return asked
