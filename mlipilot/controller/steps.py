"""The steps that a controller takes: what `next_step` answers, and the loop does."""

from __future__ import annotations

from dataclasses import dataclass

from mlipilot.paths import JobKey


@dataclass(frozen=True)
class ProposeBaseline:
    """Iteration 0: the recipe as it is."""


@dataclass(frozen=True)
class AskPilot:
    """A turn of the pilot: for a new iteration, or over a draft of this one that came back."""

    iteration: int


@dataclass(frozen=True)
class AskReviewer:
    """A second role looks at the draft before anything is spent on it."""

    iteration: int
    revision: int


@dataclass(frozen=True)
class AcceptDraft:
    """The draft becomes the iteration's candidate."""

    iteration: int
    revision: int


@dataclass(frozen=True)
class DropDraft:
    """The iteration ends without a candidate."""

    iteration: int
    reason: str


@dataclass(frozen=True)
class SubmitJob:
    """Put one attempt of a job on record as in flight; it is started with all others that are."""

    key: JobKey
    attempt: int


@dataclass(frozen=True)
class AwaitJobs:
    """Nothing can be started: wait until one of the attempts in flight is over."""


@dataclass(frozen=True)
class Weigh:
    """The first seed is measured: see whether the others are worth a training."""

    iteration: int


@dataclass(frozen=True)
class Judge:
    """All that could be measured is: compute the verdict."""

    iteration: int


@dataclass(frozen=True)
class DrawLesson:
    """A third role says in a sentence what the verdict teaches."""

    iteration: int


@dataclass(frozen=True)
class Confirm:
    """Write down what fresh seeds say of each step that the search kept."""


@dataclass(frozen=True)
class CompareSealed:
    """Write down how baseline and incumbent do on data that no verdict has used."""


@dataclass(frozen=True)
class Examine:
    """Write down how far what fresh seeds confirmed holds there, and what their spread says."""


@dataclass(frozen=True)
class Ablate:
    """Write down what each confirmed step is worth in the model that stands."""


@dataclass(frozen=True)
class Pause:
    """The machine keeps losing a job, or somebody keeps ending it: stop and let a person look."""

    reason: str


@dataclass(frozen=True)
class Finish:
    """The lineage is over."""

    reason: str


Step = (
    ProposeBaseline
    | AskPilot
    | AskReviewer
    | AcceptDraft
    | DropDraft
    | SubmitJob
    | AwaitJobs
    | Weigh
    | Judge
    | DrawLesson
    | Confirm
    | CompareSealed
    | Examine
    | Ablate
    | Pause
    | Finish
)
