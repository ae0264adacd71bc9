"""The way of a draft, the ends of a lineage and the pauses of the machine: the next step in each case."""

from __future__ import annotations

from typing import Any

import pytest

from mlipilot.campaign.spec import CampaignSpec
from mlipilot.controller import next_steps, steps
from mlipilot.paths import JobKey
from tests.controller.events import (
    Event,
    drafted,
    ended,
    exchange,
    gave_up,
    lesson,
    measured,
    no_proposal,
    proposed,
    resumed,
    reviewed,
    sealed_check,
    state_of,
    submitted,
    verdict,
)

MODEL = {
    "kind": "openai",
    "model": "m",
    "base_url": "http://127.0.0.1:9/v1",
    "reviewer": False,
    "analyst": False,
}
SEEDS = (5, 1, 3)  # in the order of the campaign, not of the numbers
BASELINE = [*measured(0, *SEEDS), verdict(0)]


def _spec(pilot: dict[str, Any] | None = None, **changes: Any) -> CampaignSpec:
    fields: dict[str, Any] = {
        "name": "x",
        "dataset": {"name": "cu_emt"},
        "recipe": "mace",
        "scorecard": "s.yaml",
        "pilot": MODEL | (pilot or {}),
        "seeds": list(SEEDS),
        "budget": {"iterations": 3, "optimizer_steps": 10},
        "jobs": {"smoke": False},
    }
    return CampaignSpec.model_validate(fields | changes)


WITH_SMOKE = _spec(jobs={"smoke": True}, pilot={"smoke_retries": 1})


def _step(events: list[Event], spec: CampaignSpec | None = None, elapsed_s: float = 0.0) -> steps.Step:
    return next_steps.next_step(state_of(*events), spec or _spec(), elapsed_s)


def _smoke(revision: int, outcome: str = "ok", attempt: int = 1, iteration: int = 1) -> list[Event]:
    return ended(iteration, SEEDS[0], "smoke", outcome, attempt, revision)


def test_a_draft_without_reviewer_and_smoke_step_is_the_candidate() -> None:
    assert _step([*BASELINE, drafted(1), drafted(1, 2)]) == steps.AcceptDraft(1, 2)


def test_a_draft_goes_to_the_reviewer_first_and_back_for_the_first_objection_alone() -> None:
    spec = _spec(pilot={"reviewer": True}, jobs={"smoke": True})
    events = [*BASELINE, drafted(1)]
    assert _step(events, spec) == steps.AskReviewer(1, 1)
    assert _step([*events, reviewed(1, approved=True)], spec) == _begun(1)
    events.append(reviewed(1, approved=False))
    assert _step(events, spec) == steps.AskPilot(1)
    events.append(drafted(1, 2))
    assert _step(events, spec) == steps.AskReviewer(1, 2)
    assert _step([*events, reviewed(1, 2, approved=False)], spec) == _begun(2)


def _begun(revision: int) -> steps.SubmitJob:
    return steps.SubmitJob(JobKey(1, SEEDS[0], "smoke", revision), 1)


def test_a_draft_goes_through_its_smoke_step_with_the_first_seed() -> None:
    events = [*BASELINE, drafted(1)]
    assert _step(events, WITH_SMOKE) == _begun(1)
    events.append(submitted(1, SEEDS[0], "smoke", revision=1))
    assert _step(events, WITH_SMOKE) == steps.AwaitJobs()
    assert _step([*BASELINE, drafted(1), *_smoke(1)], WITH_SMOKE) == steps.AcceptDraft(1, 1)


def test_a_smoke_step_that_failed_sends_the_draft_back_until_there_were_too_many() -> None:
    first = [*BASELINE, drafted(1), *_smoke(1, "failed")]
    assert _step(first, WITH_SMOKE) == steps.AskPilot(1)
    second = [*first, drafted(1, 2)]
    assert _step(second, WITH_SMOKE) == _begun(2)
    assert _step([*second, *_smoke(2)], WITH_SMOKE) == steps.AcceptDraft(1, 2)
    reason = "the smoke step of revision 2 failed: smoke 1 time_limit (revisions that failed it: 2)"
    assert _step([*second, *_smoke(2, "time_limit")], WITH_SMOKE) == steps.DropDraft(1, reason)
    patient = _spec(jobs={"smoke": True}, pilot={"smoke_retries": 2})
    assert _step([*second, *_smoke(2, "time_limit")], patient) == steps.AskPilot(1)


def test_only_revisions_that_failed_their_smoke_step_count() -> None:
    sent_back = [*BASELINE, drafted(1), reviewed(1, approved=False)]  # which had none
    events = [*sent_back, drafted(1, 2), *_smoke(2, "failed")]
    assert _step(events, WITH_SMOKE) == steps.AskPilot(1)
    passed = [*BASELINE, drafted(1), *_smoke(1), drafted(1, 2), *_smoke(2, "failed")]
    assert _step(passed, WITH_SMOKE) == steps.AskPilot(1)
    lost = [*_smoke(3, "lost"), *_smoke(3, "ok", 2)]
    assert _step([*events, drafted(1, 3), *lost], WITH_SMOKE) == steps.AcceptDraft(1, 3)
    running = [*BASELINE, drafted(1), drafted(1, 2), *_smoke(2, "failed")]
    assert _step([*running, submitted(1, SEEDS[0], "smoke", revision=1)], WITH_SMOKE) == steps.AwaitJobs()


def test_who_changes_protected_files_in_a_smoke_step_gets_no_second_try() -> None:
    events = [*BASELINE, drafted(1), *_smoke(1, "protected_changed")]
    reason = "the smoke step of revision 1 failed: smoke 1 protected_changed"
    assert _step(events, WITH_SMOKE) == steps.DropDraft(1, reason)


def test_a_smoke_step_that_was_cancelled_is_begun_again() -> None:
    events = [*BASELINE, drafted(1), *_smoke(1, "cancelled")]
    again = steps.SubmitJob(JobKey(1, SEEDS[0], "smoke", 1), 2)
    assert _step(events, WITH_SMOKE) == again


def test_a_budget_that_is_used_up_drops_a_draft_and_judges_a_candidate() -> None:
    budget = {"iterations": 3, "optimizer_steps": 10, "cpu_seconds": 60}
    spec = _spec(budget=budget, jobs={"smoke": True})
    dropped = steps.DropDraft(1, "the budget of 60 CPU-seconds is used up")
    assert _step([*BASELINE, drafted(1)], spec) == dropped
    running = [*BASELINE, drafted(1), submitted(1, SEEDS[0], "smoke", revision=1)]
    assert _step(running, spec) == steps.AwaitJobs()
    assert _step([*BASELINE, proposed(1)], spec) == steps.Judge(1)
    judged = [*BASELINE, proposed(1), verdict(1, "invalid")]
    assert _end(judged, spec) == "the budget of 60 CPU-seconds is used up"


def test_a_budget_of_calls_alone_ends_no_job() -> None:
    budget = {"iterations": 3, "optimizer_steps": 10, "prompt_tokens": 1}
    spent = exchange(9, 0, 0.0)
    spec = _spec(budget=budget)
    assert _step([*BASELINE, spent, proposed(1)], spec) == steps.SubmitJob(JobKey(1, 5, "train"), 1)
    end = _step([*BASELINE, spent, *measured(1, *SEEDS), verdict(1, "reverted"), sealed_check()], spec)
    assert end == steps.Finish("the budget of 1 prompt tokens is used up")


def test_seeds_are_begun_in_the_campaigns_order_and_evaluated_once_trained() -> None:
    spec = _spec(jobs={"smoke": False, "max_in_flight": 9})
    events: list[Event] = [proposed(0)]
    for seed in SEEDS:
        assert _step(events, spec) == steps.SubmitJob(JobKey(0, seed, "train"), 1)
        events.append(submitted(0, seed, "train"))
    assert _step(events, spec) == steps.AwaitJobs()
    events.append(ended(0, 1, "train")[1])
    assert _step(events, spec) == steps.SubmitJob(JobKey(0, 1, "evaluate"), 1)


def test_one_seed_that_fails_for_good_begins_no_other_job_but_waits_for_what_runs() -> None:
    spec = _spec(jobs={"smoke": False, "max_in_flight": 9})
    failed = [proposed(0), *ended(0, 5, "train"), *ended(0, 5, "evaluate", "failed")]
    assert _step(failed, spec) == steps.Judge(0)
    assert _step([*failed, submitted(0, 1, "train")], spec) == steps.AwaitJobs()
    again = steps.SubmitJob(JobKey(0, 1, "train"), 2)  # what was begun is brought to its end
    assert _step([*failed, *ended(0, 1, "train", "lost")], spec) == again


def test_a_lost_job_is_begun_again_as_often_as_the_campaign_says() -> None:
    spec = _spec(jobs={"smoke": False, "max_attempts": 2})
    events = [proposed(0), *ended(0, 5, "train", "lost")]
    assert _step(events, spec) == steps.SubmitJob(JobKey(0, 5, "train"), 2)
    once = _spec(jobs={"smoke": False, "max_attempts": 1})
    mend = "; find out what ends it, then resume"
    at_once = f"job 0000/seed-5/train was lost 1 time without a result: train 1 lost{mend}"
    assert _step(events, once) == steps.Pause(at_once)
    events += ended(0, 5, "train", "lost", 2)
    reason = f"job 0000/seed-5/train was lost 2 times without a result: train 2 lost{mend}"
    assert _step(events, spec) == steps.Pause(reason)
    free = [proposed(0), *ended(0, 5, "train", "lost", free=True), *ended(0, 5, "train", "lost", 2)]
    assert _step(free, spec) == steps.SubmitJob(JobKey(0, 5, "train"), 3)
    mixed = [proposed(0), *ended(0, 5, "train", "lost"), *ended(0, 5, "train", "cancelled", 2)]
    reason = f"job 0000/seed-5/train was cancelled or lost 2 times without a result: train 2 cancelled{mend}"
    assert _step(mixed, spec) == steps.Pause(reason)


@pytest.mark.parametrize("outcome", ["not_isolated", "not_storable"])
def test_a_job_that_was_not_run_pauses_with_its_reason_until_a_person_resumes(outcome: str) -> None:
    events = [proposed(0), *ended(0, 5, "train", outcome)]
    assert _step(events) == steps.Pause(f"job 0000/seed-5/train was not run: train 1 {outcome}")
    assert _step([*events, resumed()]) == steps.SubmitJob(JobKey(0, 5, "train"), 2)


def test_in_flight_is_bounded_by_what_the_campaign_says() -> None:
    events = [proposed(0), submitted(0, 5, "train")]
    assert _step(events, _spec(jobs={"max_in_flight": 1})) == steps.AwaitJobs()
    two = _spec(jobs={"max_in_flight": 2})
    assert _step(events, two) == steps.SubmitJob(JobKey(0, 1, "train"), 1)
    assert _step([*events, submitted(0, 1, "train")], two) == steps.AwaitJobs()


def test_a_lesson_is_drawn_once_from_each_candidate_with_a_verdict() -> None:
    spec = _spec(pilot={"analyst": True})
    first = [*BASELINE, *measured(1, *SEEDS), verdict(1, "reverted")]
    assert _step(BASELINE, spec) == steps.AskPilot(1)
    assert _step(first) == steps.AskPilot(2)
    assert _step(first, spec) == steps.DrawLesson(1)
    assert _step([*first, lesson(1, "")], spec) == steps.AskPilot(2)
    assert _step([*BASELINE, no_proposal(1)], spec) == steps.AskPilot(2)


def _end(events: list[Event], spec: CampaignSpec | None = None, elapsed_s: float = 0.0) -> str:
    step = _step([*events, sealed_check()], spec, elapsed_s)
    assert isinstance(step, steps.Finish)
    return step.reason


def test_a_baseline_that_could_not_be_measured_ends_the_lineage_without_a_comparison() -> None:
    invalid = [proposed(0), *ended(0, 5, "train", "failed"), verdict(0, "invalid", None, "training: NaN")]
    assert _step(invalid) == steps.Finish("the baseline could not be measured: training: NaN")
    silent = [no_proposal(0)]
    assert _step(silent) == steps.Finish("the baseline could not be measured: no verdict")


def test_a_pilot_that_gives_up_ends_the_lineage() -> None:
    assert _end([*BASELINE, gave_up(1)]) == "the pilot gave up: nothing left"


@pytest.mark.parametrize(("number", "words"), [(1, "1 iteration"), (2, "2 iterations")])
def test_iterations_that_are_used_up_end_the_lineage(number: int, words: str) -> None:
    spec = _spec(budget={"iterations": number, "optimizer_steps": 10})
    events = list(BASELINE)
    for iteration in range(1, number + 1):
        assert _step(events, spec) == steps.AskPilot(iteration)
        events += [*measured(iteration, *SEEDS), verdict(iteration, "reverted")]
    assert _end(events, spec) == f"the budget of {words} is used up"


def test_time_that_is_used_up_ends_the_lineage_before_the_next_hypothesis() -> None:
    spec = _spec(budget={"iterations": 9, "optimizer_steps": 10, "wall_seconds": 60})
    assert _step(BASELINE, spec, 59.9) == steps.AskPilot(1)
    soon = _spec(budget={"iterations": 9, "optimizer_steps": 10, "wall_seconds": 0.5})
    assert next_steps.next_step(state_of(*BASELINE), soon) == steps.AskPilot(
        1
    )  # no time has passed unless told
    assert _end(BASELINE, spec, 60.0) == "the budget of 60 s of wall time is used up"


def test_two_turns_without_a_proposal_end_the_lineage_and_dropped_drafts_are_none() -> None:
    spec = _spec(budget={"iterations": 9, "optimizer_steps": 10})
    silent = [*BASELINE, no_proposal(1)]
    assert _step(silent, spec) == steps.AskPilot(2)
    assert _end([*silent, no_proposal(2)], spec) == "the pilot made no proposal in 2 turns"
    assert _step([*silent, drafted(2), no_proposal(2)], spec) == steps.AskPilot(3)
    assert _step([*silent, *measured(2, *SEEDS), verdict(2)], spec) == steps.AskPilot(3)
    spoke = [*BASELINE, *measured(1, *SEEDS), verdict(1), no_proposal(2)]
    assert _step(spoke, spec) == steps.AskPilot(3)
    assert _end([*spoke, no_proposal(3)], spec) == "the pilot made no proposal in 2 turns"


def test_the_sealed_split_is_measured_for_baseline_and_incumbent_then_compared_once() -> None:
    events = [*BASELINE, *measured(1, *SEEDS), verdict(1, "accepted", 1), gave_up(2)]
    for iteration in (0, 1):
        for seed in SEEDS:
            assert _step(events) == steps.SubmitJob(JobKey(iteration, seed, "sealed"), 1)
            events += ended(iteration, seed, "sealed")
    assert _step(events) == steps.CompareSealed()
    assert _end(events) == "the pilot gave up: nothing left"


def test_a_baseline_alone_is_measured_once_on_the_sealed_split() -> None:
    events = [*BASELINE, gave_up(1), *(event for seed in SEEDS for event in ended(0, seed, "sealed"))]
    assert _step(events) == steps.CompareSealed()


def test_a_lineage_that_was_confirmed_is_examined_after_its_sealed_check_and_then_over() -> None:
    step = {"iteration": 1, "before": 0, "measure": "violation", "gain": 1.0, "sd": 0.1, "p": 0.01}
    step |= {"level": 0.05, "confirmed": True, "passed": 2, "fault": None}
    body = {"seeds": [7], "alpha": 0.05, "baseline_passed": 0, "whole": step, "steps": [step], "incumbent": 1}
    confirmed: Event = ("confirmed", body | {"pass_rate_at_least": 0.1})
    kept = [*BASELINE, *measured(1, *SEEDS), verdict(1, "accepted", 1), gave_up(2)]
    spec = _spec(confirm={"seeds": 2})
    assert isinstance(_step([*kept, confirmed], spec), steps.CompareSealed), "no fresh seed was measured"
    checked = [*kept, confirmed, sealed_check()]
    assert _step(checked, spec) == steps.Examine()
    assert isinstance(_step([*checked, ("examined", {"results": []})], spec), steps.Finish)
    assert isinstance(_step([*kept, sealed_check()]), steps.Finish), "without a confirmation there is none"


def test_an_objection_sends_a_draft_back_where_there_is_no_smoke_step_too() -> None:
    spec = _spec(pilot={"reviewer": True})
    events = [*BASELINE, drafted(1), reviewed(1, approved=False)]
    assert _step(events, spec) == steps.AskPilot(1)
    assert _step([*BASELINE, drafted(1), reviewed(1, approved=True)], spec) == steps.AcceptDraft(1, 1)


def test_the_last_lesson_comes_before_the_end() -> None:
    spec = _spec(pilot={"analyst": True}, budget={"iterations": 1, "optimizer_steps": 10})
    events = [*BASELINE, *measured(1, *SEEDS), verdict(1, "reverted")]
    assert _step(events, spec) == steps.DrawLesson(1)
    assert isinstance(_step([*events, lesson(1)], spec), steps.SubmitJob)  # on sealed data


def test_a_draft_that_a_person_drops_ends_its_iteration_for_that_reason() -> None:
    budget = {"iterations": 3, "optimizer_steps": 10, "cpu_seconds": 60}  # used up as well
    gone = ("candidate_dropped", {"iteration": 1, "why": "it hangs"})
    for spec in (_spec(jobs={"smoke": True}), _spec(budget=budget, jobs={"smoke": True})):
        dropped = steps.DropDraft(1, "dropped by a person: it hangs")
        assert _step([*BASELINE, drafted(1), gone], spec) == dropped
