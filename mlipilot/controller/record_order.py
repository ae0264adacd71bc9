"""Whether a record's time had come: what the controller writes follows from the step that was due."""

from __future__ import annotations

from collections.abc import Iterable

from mlipilot.audit.events import Event
from mlipilot.audit.events.concluding import (
    Ablated,
    AblationAsked,
    ConfirmationAsked,
    Confirmed,
    Examined,
    SealedCheck,
)
from mlipilot.audit.events.proposing import (
    Drafted,
    EndpointProbed,
    Exchange,
    GaveUp,
    Heard,
    Lesson,
    NoProposal,
    Proposed,
    Reviewed,
)
from mlipilot.audit.events.reporting import Reported
from mlipilot.audit.events.running import (
    CampaignStarted,
    Cancelled,
    CandidateDropped,
    Finished,
    JobFinished,
    JobSubmitted,
    LedgerRepaired,
    Paused,
    Resumed,
    Verdict,
    Weighed,
)
from mlipilot.controller import steps
from mlipilot.controller.ablation import why_not_to_be_ablated
from mlipilot.controller.confirmation import why_not_to_be_asked
from mlipilot.controller.state import State

WITHIN_A_TURN = (EndpointProbed, Exchange, Heard)
"""What is recorded while a step goes on. Budgets that it uses up end none that has begun."""
_OF_NO_STEP = (Resumed, Paused, Cancelled, CandidateDropped)
_ANYWHERE = (CampaignStarted, JobFinished, LedgerRepaired, Reported)
"""What other checks hold to what was before, and the repair of what a kill has left."""
_BETWEEN_SESSIONS = (*_OF_NO_STEP, *_ANYWHERE, Exchange)
"""What may come after a pause or a cancel before the lineage is taken up again: another one, exchanges that a
kill had left, and what a person does to a lineage that nobody carries."""
_ROLES = {
    "researcher": steps.AskPilot,
    "reviewer": steps.AskReviewer,
    "analyst": steps.DrawLesson,
}


def why_not_due(event: Event, before: State, due: Iterable[steps.Step]) -> str | None:
    """Why an event cannot have come where it stands, or None; `due`: what was to do there."""
    if isinstance(event, _ANYWHERE):
        return None
    if isinstance(event, ConfirmationAsked):
        return why_not_to_be_asked(before)
    if isinstance(event, AblationAsked):
        return why_not_to_be_ablated(before)
    if before.finished is not None:
        return "the lineage was over"
    if (before.paused is not None or before.cancelled) and not isinstance(event, _BETWEEN_SESSIONS):
        return f"the lineage was {before.phase}, and no record takes it up again"
    if isinstance(event, Lesson):  # whoever has an analyst at the time
        judged = before.iterations[event.iteration]
        is_due = judged is before.iterations[-1] and judged.verdict is not None and judged.lesson is None
        return None if is_due else "there was no verdict without one"
    if isinstance(event, _OF_NO_STEP) or any(_follows(event, step) for step in due):
        return None
    return f"it was not due; {' or '.join(sorted({type(step).__name__ for step in due}))} was"


def _follows(event: Event, step: steps.Step) -> bool:
    match event, step:
        case Proposed(iteration=0), steps.ProposeBaseline():
            return True
        case Proposed(), steps.AcceptDraft(number, revision):
            return (event.iteration, event.revision) == (number, revision)
        case Proposed(revision=None), steps.AskPilot(number):  # the first runs had no drafts
            return event.iteration == number
        case ((Drafted() | GaveUp() | NoProposal()), steps.AskPilot(number)):
            return event.iteration == number
        case NoProposal(), steps.DropDraft(number, _):
            return event.iteration == number
        case Reviewed(), steps.AskReviewer(number, revision):
            return (event.iteration, event.revision) == (number, revision)
        case (
            (Exchange() | Heard()),
            steps.AskPilot(number) | steps.AskReviewer(number, _) | steps.DrawLesson(number),
        ):
            return isinstance(step, _ROLES[event.role]) and event.iteration == number
        case EndpointProbed(), _:
            return isinstance(step, tuple(_ROLES.values()))
        case JobSubmitted(), steps.SubmitJob(key, attempt):
            return (event.key, event.attempt) == (key, attempt)
        case JobSubmitted(), steps.Judge(number):  # what a candidate left there voids its last attempt
            return (event.job, event.iteration) == ("evaluate", number) and event.attempt > 1
        case Weighed(), steps.Weigh(number):
            return event.iteration == number
        case Verdict(), steps.Judge(number):
            return event.iteration == number
        case Confirmed(), steps.Confirm():
            return True
        case SealedCheck(), steps.CompareSealed():
            return True
        case Examined(), steps.Examine():
            return True
        case Ablated(), steps.Ablate():
            return True
        case Finished(), steps.Finish():
            return True
        case _:
            return False
