"""What goes into one turn of a pilot, and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from mlipilot.pilots.hypothesis import Hypothesis
from mlipilot.pilots.space import Scalar

CAME_BACK = "Your draft of this iteration came back"
"""How a pilot is told that a turn is about a draft that it has submitted before."""


@dataclass(frozen=True)
class Feedback:
    """Why a draft of this iteration came back to its pilot."""

    revision: int
    title: str
    source: Literal["smoke", "reviewer"]
    """Its smoke step failed, or the reviewer objected."""
    text: str
    """What a job or another model wrote, cleaned: data, no instruction."""


@dataclass(frozen=True)
class TurnInput:
    """All that a pilot is told for one iteration."""

    iteration: int
    """The number of this iteration; 0 was the baseline."""
    draft: Path
    """A copy of the incumbent's recipe, or of the draft that came back; the pilot edits it in place."""
    incumbent: Path
    """The incumbent's recipe, to tell whether the draft differs."""
    starting: Path
    """The recipe that the run started from: what a draft may say beyond it is bounded."""
    history: list[dict[str, Any]]
    """One entry an iteration, the baseline first: iteration, title, hypothesis, verdict, reason, effects
    (metric, direction, grade, before, after), score (violation and log_objective: means over seeds in ln
    units, or None), metrics (value by name), parameters (of the declared space, by dotted path), diff."""
    logs: Mapping[str, Path]
    """Training logs by `log_key(iteration, seed)`."""
    scorecard: dict[str, Any]
    """`gates`: metric, bound, value of the incumbent (or None) and passed, for each; optionally `objective`:
    value of the incumbent (or None) and terms (metric, weight, scale)."""
    max_steps: int
    """Optimiser steps of one training."""
    metrics: Sequence[str] = ()
    """The metrics that are measured, of which a claim may speak; empty for the whole catalogue."""
    replies: int = 30
    """How many replies the pilot has for this turn."""
    seeds: int = 1
    """How many seeds every candidate is trained with."""
    iterations_left: int | None = None
    """How many experiments, this one included, the lineage may still make; None when it is not limited."""
    log_lines: int = 60
    """How many of a log's last lines the pilot is shown."""
    held: Mapping[str, Scalar] = field(default_factory=dict)
    """Values of recipe.yaml by dotted path that a search has set in the draft, and that stay as they are."""
    briefing: Mapping[str, str] = field(default_factory=dict)
    """Plain facts for the task's text, by title, such as the data set's description."""
    tried: Mapping[str, str] = field(default_factory=dict)
    """What became of each recipe that was tried, such as "iteration 3 of lineage 1, reverted: no gain": by
    the identity of its recipe; for a draft that failed its smoke step, by its tree digest."""
    lessons: Sequence[str] = ()
    """What was learnt from experiments, of this lineage and of others, the newest last."""
    feedback: Feedback | None = None
    """Why the draft came back; None in an iteration's first turn."""


@dataclass(frozen=True)
class Proposal:
    """The pilot submitted an experiment: the draft is the candidate."""

    hypothesis: Hypothesis


@dataclass(frozen=True)
class GaveUp:
    """The pilot says that it has nothing more to try."""

    reason: str


@dataclass(frozen=True)
class NoProposal:
    """The turn ended by rule without an experiment."""

    reason: str


Outcome = Proposal | GaveUp | NoProposal


Turn = TypeVar("Turn", contravariant=True)


class Proposer(Protocol[Turn]):
    """Whoever proposes: a search or a model in a conversation (`TurnInput`), the scripted pilot (`Tools`)."""

    def __call__(self, turn: Turn, /) -> Outcome:
        """Edit the draft in place and submit it, or say why there is nothing to be tried.

        Raises PausedError when a model cannot be had, BudgetSpentError when it may not be asked any more; the
        draft is then in whatever state the last edit left it.
        """
        ...


def log_key(iteration: int, seed: int) -> str:
    """The key of a training log in `TurnInput.logs`."""
    return f"{iteration}/{seed}"
