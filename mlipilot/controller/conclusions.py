"""What is written down of a lineage once its search is over, step by step."""

from __future__ import annotations

from collections.abc import Callable

from mlipilot.audit.events import Event
from mlipilot.audit.leftovers import drop_staged_claims
from mlipilot.audit.manifest import drop_unsealable
from mlipilot.controller import steps
from mlipilot.controller.ablation import compute_ablation
from mlipilot.controller.confirming import compute_confirmation
from mlipilot.controller.examining import compute_exam
from mlipilot.controller.job_submission import Attempts
from mlipilot.controller.state import State
from mlipilot.controller.verdict import Measurements, sealed_summary
from mlipilot.jobs.kept_checkpoints import drop_lost_work

Conclusion = steps.Confirm | steps.CompareSealed | steps.Examine | steps.Ablate
_COMPUTED: dict[type[Conclusion], Callable[[State, Measurements], Event]] = {
    steps.Confirm: compute_confirmation,
    steps.CompareSealed: sealed_summary,
    steps.Examine: compute_exam,
    steps.Ablate: compute_ablation,
}


def conclude(step: Conclusion, state: State, attempts: Attempts, measured: Measurements) -> Event:
    """The record that a step calls for.

    Raises PausedError for a file that is not the one that was measured.
    """
    if isinstance(step, steps.Confirm | steps.Ablate):
        _tidy(state, attempts)
    return _COMPUTED[type(step)](state, measured)


def _tidy(state: State, attempts: Attempts) -> None:
    """Drop what no record speaks of: what waited behind a training that failed is not wanted any more."""
    trained = [key for key in state.jobs if key.fresh and key.kind == "train"]
    attempts.withdraw_unrecorded(state, [key.beside("evaluate") for key in trained])
    for directory in attempts.lineage.confirmation.iterdir():
        drop_staged_claims(directory)
        drop_lost_work(directory)
        drop_unsealable(directory)
