"""What is due: the next step as a pure function of state and spec.

The loop replays the ledger, asks `next_step`, does it and writes the outcome; so a controller that was
killed at any line takes up where the ledger ends.
"""

from __future__ import annotations

from mlipilot.campaign.spec import CampaignSpec
from mlipilot.controller.ablation import ablation_keys
from mlipilot.controller.confirmation import (
    asked_for,
    control_of,
    first_look,
    fresh_seeds,
    kept_steps,
    look_of,
)
from mlipilot.controller.retries import next_attempt
from mlipilot.controller.spending import used_up
from mlipilot.controller.state import OWN_FAULTS, Iteration, State
from mlipilot.controller.steps import (
    Ablate,
    AcceptDraft,
    AskPilot,
    AskReviewer,
    AwaitJobs,
    CompareSealed,
    Confirm,
    DrawLesson,
    DropDraft,
    Examine,
    Finish,
    Judge,
    Pause,
    ProposeBaseline,
    Step,
    SubmitJob,
    Weigh,
)
from mlipilot.paths import JobKey

_LONGEST_SILENCE = 2  # turns in a row without a proposal, after which the pilot is taken to have nothing more


def next_step(state: State, spec: CampaignSpec, elapsed_s: float = 0.0) -> Step:
    """The one thing to do now. `elapsed_s` is the lineage's wall time so far."""
    if not state.iterations:
        return ProposeBaseline()
    current = state.iterations[-1]
    spent = used_up(state, spec.budget, elapsed_s, "jobs") if current.number > 0 else None
    over = current.dropped or spent
    if not current.judged and over is not None:
        end = Judge(current.number) if current.proposed else DropDraft(current.number, over)
        return AwaitJobs() if state.in_flight() else end
    if not current.judged and not current.proposed:
        return _revise(state, spec, current)
    if _is_to_be_weighed(state, spec, current):
        return Weigh(current.number)
    if not current.judged:
        return _work(state, spec, _iteration_jobs(state, spec, current), Judge(current.number))
    if _is_lesson_due(spec, current):
        return DrawLesson(current.number)
    reason = _why_end(state, spec, elapsed_s)
    if reason is None:
        return AskPilot(len(state.iterations))
    is_due = state.confirmed is None or first_look(state) is not None
    if is_due and (keys := confirmation_jobs(state, spec)):
        return _work(state, spec, keys, Confirm())
    if state.sealed_check is None and state.incumbent is not None:
        return _work(state, spec, sealed_jobs(state, spec), CompareSealed())
    if state.confirmed is not None and state.examined is None:
        return Examine()
    if state.ablation_asked is not None and state.ablated is None:
        return _work(state, spec, _ablation_jobs(state), Ablate())
    return Finish(reason)


def is_search_over(state: State, spec: CampaignSpec) -> bool:
    """Whether no pilot is asked any more: what follows needs no model but the candidates'."""
    if not state.iterations:
        return False
    current = state.iterations[-1]
    return current.judged and not _is_lesson_due(spec, current) and _why_end(state, spec, 0.0) is not None


def _revise(state: State, spec: CampaignSpec, iteration: Iteration) -> Step:
    """The newest draft's way: to the reviewer, through its smoke step, then on to the candidate or back.

    The reviewer comes first, because a draft that is sent back then costs no job.
    """
    number, draft = iteration.number, iteration.drafts[-1]
    if draft.revision not in iteration.reviews and spec.pilot.endpoint("reviewer") is not None:
        return AskReviewer(number, draft.revision)
    if iteration.sent_back:
        return AskPilot(number)
    if not spec.jobs.smoke:
        return AcceptDraft(number, draft.revision)
    key = JobKey(number, spec.seeds[0], "smoke", draft.revision)
    return _work(state, spec, [key], _after_smoke(state, spec, iteration))


def _after_smoke(state: State, spec: CampaignSpec, iteration: Iteration) -> Step:
    """Where a draft goes whose smoke step is over."""
    number, revision = iteration.number, iteration.drafts[-1].revision
    attempts = [state.smoke(number, draft.revision) for draft in iteration.drafts]
    failed = [a.ended for a in attempts if a is not None and a.ended and a.outcome in OWN_FAULTS]
    last = attempts[-1]
    if last is None or last.outcome not in OWN_FAULTS:
        return AcceptDraft(number, revision)
    reason = f"the smoke step of revision {revision} failed: {failed[-1].reason}"
    if last.outcome == "protected_changed":
        return DropDraft(number, reason)
    if len(failed) > spec.pilot.smoke_retries:
        return DropDraft(number, f"{reason} (revisions that failed it: {len(failed)})")
    return AskPilot(number)


def _is_lesson_due(spec: CampaignSpec, iteration: Iteration) -> bool:
    judged = iteration.number > 0 and iteration.verdict is not None
    return judged and iteration.lesson is None and spec.pilot.endpoint("analyst") is not None


def _why_end(state: State, spec: CampaignSpec, elapsed_s: float) -> str | None:
    """Why no further hypothesis is asked for, or None."""
    budget = spec.budget
    if state.incumbent is None:
        verdict = state.iterations[0].verdict
        return f"the baseline could not be measured: {verdict.reason if verdict else 'no verdict'}"
    if state.gave_up is not None:
        return f"the pilot gave up: {state.gave_up}"
    if len(state.iterations) - 1 >= budget.iterations:
        noun = "iteration" if budget.iterations == 1 else "iterations"
        return f"the budget of {budget.iterations} {noun} is used up"
    spent = used_up(state, budget, elapsed_s)
    if spent is not None:
        return spent
    # Who submitted drafts, though none of them ran, was not silent.
    silent = [i.no_proposal is not None and not i.drafts for i in state.iterations[-_LONGEST_SILENCE:]]
    if len(silent) == _LONGEST_SILENCE and all(silent):
        return f"the pilot made no proposal in {_LONGEST_SILENCE} turns"
    return None


def _first_seed_goes_alone(spec: CampaignSpec, iteration: Iteration) -> bool:
    """Whether the other seeds wait for what the first one says: never of the baseline."""
    return spec.budget.first_seed_alone and iteration.number > 0 and len(spec.seeds) > 1


def _is_to_be_weighed(state: State, spec: CampaignSpec, iteration: Iteration) -> bool:
    if iteration.judged or iteration.weighed is not None or not _first_seed_goes_alone(spec, iteration):
        return False
    return _outcome(state, JobKey(iteration.number, spec.seeds[0], "evaluate")) == "ok"


def _iteration_jobs(state: State, spec: CampaignSpec, iteration: Iteration) -> list[JobKey]:
    """The jobs that an iteration still calls for: one seed that fails for good ends the others' waiting."""
    keys = []
    waits = _first_seed_goes_alone(spec, iteration) and iteration.weighed is None
    for seed in spec.seeds[:1] if waits else spec.seeds:
        train = JobKey(iteration.number, seed, "train")
        evaluate = JobKey(iteration.number, seed, "evaluate")
        keys.append(train)
        if _outcome(state, train) == "ok":
            keys.append(evaluate)
    has_lost = iteration.weighed is not None and iteration.weighed.lost is not None
    if has_lost or any(_failed(state, key) for key in keys):
        return [key for key in keys if state.last(key) is not None]
    return keys


def confirmation_jobs(state: State, spec: CampaignSpec) -> list[JobKey]:
    """The jobs that fresh seeds call for: a seed that fails stays one, and says so of its step."""
    kept = kept_steps(state)
    if (asked := asked_for(state, spec)) is None or len(kept) < 2:
        return []
    seeds = fresh_seeds(state, spec.seeds, look_of(state, asked).seeds)
    trainings = [JobKey(number, seed, "train", fresh=True) for number in kept for seed in seeds]
    if asked.permuted_labels:
        trainings.append(control_of(kept, seeds, "train"))
    return [*trainings, *(key.beside("evaluate") for key in trainings if _outcome(state, key) == "ok")]


def _ablation_jobs(state: State) -> list[JobKey]:
    trainings = [key for keys in ablation_keys(state, "train").values() for key in keys]
    return [*trainings, *(key.beside("evaluate") for key in trainings if _outcome(state, key) == "ok")]


def sealed_jobs(state: State, spec: CampaignSpec) -> list[JobKey]:
    """The comparisons of baseline and incumbent: with fresh seeds where there were any."""
    fresh = state.confirmed is not None
    seeds = state.confirmed.seeds if state.confirmed is not None else spec.seeds
    compared = sorted({0, state.incumbent or 0})
    keys = [JobKey(number, seed, "sealed", fresh=fresh) for number in compared for seed in seeds]
    return [key for key in keys if _outcome(state, key.beside("evaluate")) == "ok"]


def _work(state: State, spec: CampaignSpec, keys: list[JobKey], then: Step) -> Step:
    """Start what is due, else wait for what runs, else go on with `then`."""
    in_flight = state.in_flight()
    if len(in_flight) < spec.jobs.attempts_in_flight:
        for key in keys:
            due = next_attempt(key.text, state.jobs.get(key, []), spec.jobs.max_attempts)
            if due is not None:
                return SubmitJob(key, due) if isinstance(due, int) else Pause(due)
    return AwaitJobs() if in_flight else then


def _outcome(state: State, key: JobKey) -> str | None:
    last = state.last(key)
    return None if last is None else last.outcome


def _failed(state: State, key: JobKey) -> bool:
    """Whether a job ended by the candidate's own fault."""
    return _outcome(state, key) in OWN_FAULTS
