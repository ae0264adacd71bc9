"""The next step as a pure function of the ledger."""

from __future__ import annotations

from typing import Any

import pytest

from mlipilot.campaign.spec import CampaignSpec
from mlipilot.controller import next_steps, steps
from mlipilot.controller.next_steps import next_step
from mlipilot.controller.state import NOT_RUN, State, replay
from mlipilot.paths import JobKey
from tests.events import records

Event = tuple[str, dict[str, Any]]


def _spec(**changes: Any) -> CampaignSpec:
    fields: dict[str, Any] = {
        "name": "x",
        "dataset": {"name": "cu_emt"},
        "recipe": "mace",
        "scorecard": "s.yaml",
        "pilot": {"kind": "scripted"},
        "seeds": [1, 2],
        "budget": {"iterations": 2, "optimizer_steps": 10},
    }
    return CampaignSpec.model_validate(fields | changes)


def _step(events: list[Event], spec: CampaignSpec | None = None, elapsed_s: float = 0.0) -> steps.Step:
    return next_step(replay(records(events)), spec or _spec(), elapsed_s)


def _proposed(iteration: int) -> Event:
    return "proposed", {"iteration": iteration}


def _submitted(iteration: int, seed: int, job: str, attempt: int = 1) -> Event:
    return "job_submitted", {"iteration": iteration, "seed": seed, "job": job, "attempt": attempt}


def _ended(iteration: int, seed: int, job: str, outcome: str = "ok", attempt: int = 1) -> list[Event]:
    submitted = _submitted(iteration, seed, job, attempt)
    ended = {"outcome": outcome, "reason": f"{job} {attempt} {outcome}", "cpu_s": 10.0, "gpu_s": 0.0}
    return [submitted, ("job_finished", submitted[1] | ended)]


def _done(iteration: int, verdict: str = "accepted", incumbent: int | None = 0) -> list[Event]:
    events = [_proposed(iteration)]
    for seed in (1, 2):
        events += _ended(iteration, seed, "train") + _ended(iteration, seed, "evaluate")
    body = {"iteration": iteration, "verdict": verdict, "incumbent": incumbent, "reason": "r"}
    return [*events, ("verdict", body)]


def test_an_empty_ledger_begins_with_the_baseline() -> None:
    assert _step([]) == steps.ProposeBaseline()


def test_both_seeds_train_at_once_then_are_waited_for() -> None:
    events = [_proposed(0)]
    assert _step(events) == steps.SubmitJob(JobKey(0, 1, "train"), 1)
    events.append(_submitted(0, 1, "train"))
    assert _step(events) == steps.SubmitJob(JobKey(0, 2, "train"), 1)
    events.append(_submitted(0, 2, "train"))
    assert _step(events) == steps.AwaitJobs()


def test_a_seed_is_evaluated_as_soon_as_it_is_trained() -> None:
    events = [_proposed(0), *_ended(0, 1, "train"), _submitted(0, 2, "train")]
    assert _step(events) == steps.SubmitJob(JobKey(0, 1, "evaluate"), 1)


def test_in_flight_is_bounded() -> None:
    spec = _spec(jobs={"max_in_flight": 1})
    assert _step([_proposed(0), _submitted(0, 1, "train")], spec) == steps.AwaitJobs()


def test_all_measured_is_judged() -> None:
    assert _step(_done(0)[:-1]) == steps.Judge(0)


@pytest.mark.parametrize("outcome", ["failed", "time_limit", "protected_changed"])
def test_a_candidates_own_fault_is_judged_without_more_jobs(outcome: str) -> None:
    assert _step([_proposed(0), *_ended(0, 1, "train", outcome)]) == steps.Judge(0)
    running = [_proposed(0), _submitted(0, 2, "train"), *_ended(0, 1, "train", outcome)]
    assert _step(running) == steps.AwaitJobs()


def test_a_lost_job_is_tried_again_and_then_a_person_is_asked() -> None:
    events = [_proposed(0), *_ended(0, 1, "train", "lost")]
    assert _step(events) == steps.SubmitJob(JobKey(0, 1, "train"), 2)
    events += _ended(0, 1, "train", "lost", 2) + _ended(0, 1, "train", "lost", 3)
    paused = _step(events)
    assert isinstance(paused, steps.Pause) and "lost 3 times without a result: train 3 lost" in paused.reason
    assert _step([*events, ("resumed", {})]) == steps.SubmitJob(JobKey(0, 1, "train"), 4)


@pytest.mark.parametrize("most", [1, 2, 5])
@pytest.mark.parametrize(
    "ends", [["lost"], ["cancelled"], ["cancelled", "lost"]], ids=lambda ends: " or ".join(ends)
)
def test_however_attempts_end_without_a_result_there_are_only_so_many_in_a_session(
    ends: list[str], most: int
) -> None:
    """Somebody may end every job of a run from outside, for ever."""
    spec, events, number = _spec(jobs={"max_attempts": most}), [_proposed(0)], 0
    for session in range(3):
        if session > 0:
            events.append(("resumed", {}))
        for _ in range(most):
            number += 1
            assert _step(events, spec) == steps.SubmitJob(JobKey(0, 1, "train"), number)
            events += _ended(0, 1, "train", ends[number % len(ends)], number)
        paused = _step(events, spec)
        assert isinstance(paused, steps.Pause)
        how = " or ".join(ends) if most > 1 else ends[number % len(ends)]
        times = "1 time" if most == 1 else f"{most} times"
        assert paused.reason.startswith(
            f"job {JobKey(0, 1, 'train').text} was {how} {times} without a result: "
        )
        assert paused.reason.endswith("find out what ends it, then resume")


def test_what_was_asked_to_end_before_the_run_was_resumed_is_not_counted() -> None:
    """A request that the submitter refused is seen to be cancelled only by the next session."""
    spec, (submitted, ended) = _spec(jobs={"max_attempts": 1}), _ended(0, 1, "train", "cancelled")
    events = [_proposed(0), submitted, ("resumed", {}), ended]
    assert _step(events, spec) == steps.SubmitJob(JobKey(0, 1, "train"), 2)
    lost = [_proposed(0), submitted, ("resumed", {}), *_ended(0, 1, "train", "lost")[1:]]
    assert isinstance(_step(lost, spec), steps.Pause)
    assert isinstance(_step([*events, *_ended(0, 1, "train", "cancelled", 2)], spec), steps.Pause)


@pytest.mark.parametrize("outcome", NOT_RUN)
def test_a_job_that_did_not_begin_asks_a_person_and_is_no_lost_attempt(outcome: str) -> None:
    events = [_proposed(0), *_ended(0, 1, "train", outcome)]
    paused = _step(events)
    assert isinstance(paused, steps.Pause) and f"was not run: train 1 {outcome}" in paused.reason
    events += [("resumed", {}), *_ended(0, 1, "train", "lost", 2), *_ended(0, 1, "train", "lost", 3)]
    assert _step(events) == steps.SubmitJob(JobKey(0, 1, "train"), 4)


def test_the_pilot_is_asked_until_the_iterations_are_used_up() -> None:
    assert _step(_done(0)) == steps.AskPilot(1)
    assert _step(_done(0) + _done(1, "reverted")) == steps.AskPilot(2)
    over = _step(_done(0) + _done(1, "reverted") + _done(2, "accepted", 2))
    assert over == steps.SubmitJob(JobKey(0, 1, "sealed"), 1)


def test_the_sealed_split_is_looked_at_once_at_the_end_for_baseline_and_incumbent() -> None:
    events = _done(0) + _done(1) + _done(2, "accepted", 2)
    for iteration in (0, 2):
        for seed in (1, 2):
            assert _step(events) == steps.SubmitJob(JobKey(iteration, seed, "sealed"), 1)
            events += _ended(iteration, seed, "sealed")
    assert _step(events) == steps.CompareSealed()
    assert isinstance(_step([*events, ("sealed_check", {})]), steps.Finish)


def test_a_baseline_that_cannot_be_measured_ends_the_lineage() -> None:
    body = {"iteration": 0, "verdict": "invalid", "incumbent": None, "reason": "training: NaN"}
    step = _step([_proposed(0), *_ended(0, 1, "train", "failed"), ("verdict", body)])
    assert isinstance(step, steps.Finish)
    assert "NaN" in step.reason


def test_a_silent_pilot_ends_the_lineage() -> None:
    silence: list[Event] = [("no_proposal", {"iteration": n, "reason": "chatter"}) for n in (1, 2)]
    spec = _spec(budget={"iterations": 9, "optimizer_steps": 1})
    assert _step(_done(0) + silence[:1], spec) == steps.AskPilot(2)
    assert _step(_done(0) + silence, spec) == steps.SubmitJob(JobKey(0, 1, "sealed"), 1)


@pytest.mark.parametrize(("budget", "elapsed_s"), [({"cpu_seconds": 40}, 0.0), ({"wall_seconds": 60}, 61.0)])
def test_budgets_end_the_lineage_before_the_next_hypothesis(
    budget: dict[str, float], elapsed_s: float
) -> None:
    spec = _spec(budget={"iterations": 9, "optimizer_steps": 1} | budget)
    assert isinstance(_step(_done(0), spec, elapsed_s), steps.SubmitJob)
    wider = _spec(budget={"iterations": 9, "optimizer_steps": 1, "cpu_seconds": 41, "wall_seconds": 99})
    assert _step(_done(0), wider, elapsed_s) == steps.AskPilot(1)


def test_a_pause_while_preparing_is_not_a_start() -> None:
    events: list[Event] = [("paused", {"reason": "no space"})]
    state = replay(records(events))
    assert state.started is None and state.paused == "no space"
    assert replay(records([*events, ("campaign_started", {})])).phase == "open"


def test_a_budget_of_jobs_that_is_used_up_begins_no_further_job_of_a_candidate() -> None:
    spec = _spec(budget={"iterations": 2, "optimizer_steps": 10, "cpu_seconds": 45.0})
    events = [*_done(0), _proposed(1), _submitted(1, 1, "train"), _submitted(1, 2, "train")]
    assert _step(events, spec) == steps.AwaitJobs()  # 40 s: both trainings were begun within the budget
    events.append(_ended(1, 1, "train")[1])
    assert _step(events, spec) == steps.AwaitJobs()
    events.append(_ended(1, 2, "train")[1])
    assert _step(events, spec) == steps.Judge(1)


def test_a_baseline_is_measured_whatever_the_budget() -> None:
    spec = _spec(budget={"iterations": 2, "optimizer_steps": 10, "cpu_seconds": 1.0})
    events = [_proposed(0), *_ended(0, 1, "train")]
    assert _step(events, spec) == steps.SubmitJob(JobKey(0, 1, "evaluate"), 1)


def test_a_dropped_candidate_is_judged_when_its_jobs_are_over_whatever_they_lost() -> None:
    dropped = ("candidate_dropped", {"iteration": 1, "why": "it hangs"})
    begun = [*_done(0), _proposed(1), *(e for n in (1, 2, 3) for e in _ended(1, 1, "train", "lost", n))]
    assert isinstance(_step(begun), steps.Pause)
    assert _step([*begun, dropped]) == steps.Judge(1)
    assert _step([*begun, _submitted(1, 2, "train"), dropped]) == steps.AwaitJobs()
    over = ("verdict", {"iteration": 1, "verdict": "invalid", "incumbent": 0, "reason": "r"})
    assert _step([*begun, dropped, over]) == steps.AskPilot(2)
    baseline = [_proposed(0), ("candidate_dropped", {"iteration": 0, "why": "it hangs"})]
    assert _step(baseline) == steps.Judge(0)


def test_a_search_is_over_when_no_pilot_is_asked_any_more() -> None:
    spec = _spec(budget={"iterations": 1, "optimizer_steps": 1})
    assert not next_steps.is_search_over(State(), spec)
    begun = records(_done(0))
    assert not next_steps.is_search_over(replay(begun), spec)
    assert not next_steps.is_search_over(replay(records([*_done(0), ("proposed", {"iteration": 1})])), spec)
    judged = [*_done(0), *_done(1)]
    assert next_steps.is_search_over(replay(records(judged)), spec)
    analysed = _spec(
        budget={"iterations": 1, "optimizer_steps": 1},
        pilot={"kind": "openai", "model": "m", "base_url": "http://127.0.0.1:9/v1"},
    )
    assert not next_steps.is_search_over(replay(records(judged)), analysed), "its lesson is to be drawn"
    timed = _spec(budget={"iterations": 9, "optimizer_steps": 1, "wall_seconds": 0.5})
    assert not next_steps.is_search_over(replay(records(judged)), timed), "no clock is asked"
