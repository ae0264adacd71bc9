"""The smoke step: whether a draft's training runs at all, found out in two optimiser steps.

The evaluator stays the judge of the model. What is looked at here only saves the price of a training whose
end is plain from its beginning.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from mlipilot.evaluation.families.mace_config import parse_config
from mlipilot.evaluation.handover_files import HandoverError, read_files
from mlipilot.handover import CONFIG
from mlipilot.jobs.logs import job_events
from mlipilot.paths import STDERR, STDOUT
from mlipilot.untrusted import one_line, tail

SMOKE_STEPS = 2
"""Optimiser steps: the second one shows a loss that the first update has spoilt."""
_SHOWN_LINES = 30


def smoke_fault(attempt: Path) -> str | None:
    """What is wrong with a smoke step whose process ended well, or None."""
    losses = [event["train_loss"] for event in job_events(attempt) if "train_loss" in event]
    if not losses:
        return "train.py told no train_loss: it must print its progress as JSON lines on stdout"
    if not all(map(_finite, losses)):
        return f"the loss is not finite: {one_line(str(losses), 100)}"
    try:
        parse_config(read_files(attempt / "output" / "model")[CONFIG])
    except HandoverError as error:
        return one_line(f"the hand-over would be refused: {error}", 400)
    return None


def smoke_feedback(attempt: Path, reason: str) -> str:
    """The end of what a failed smoke step printed, and last why it failed; cleaned."""
    parts = []
    for name in (STDOUT, STDERR):
        with suppress(OSError):
            if text := tail(attempt / name, _SHOWN_LINES).strip():
                parts.append(f"The end of {name}:\n{text}\n")
    return "\n".join([*parts, f"It failed: {one_line(reason, 1000)}"])


def _finite(loss: Any) -> bool:
    return isinstance(loss, int | float) and abs(loss) < 1e300  # false for NaN, too
