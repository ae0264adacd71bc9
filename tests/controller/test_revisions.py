"""A draft's way to the candidate, as steps: reviewer, smoke step, back to the pilot; from any kill point."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from mlipilot.campaign.spec import CampaignSpec
from mlipilot.controller import steps
from mlipilot.controller.next_steps import next_step
from mlipilot.controller.state import State, replay
from mlipilot.paths import JobKey
from tests.controller.test_next_steps import Event, _done, _spec, _step
from tests.events import named, records

LANGUAGE_MODEL = {"kind": "openai", "model": "m", "smoke_retries": 2}
ALONE = LANGUAGE_MODEL | {"reviewer": False, "analyst": False}


def _drafted(revision: int, iteration: int = 1) -> Event:
    return "drafted", {"iteration": iteration, "revision": revision, "recipe_digest": f"{revision:064}"}


def _reviewed(revision: int, *, approved: bool) -> Event:
    return "reviewed", {"iteration": 1, "revision": revision, "approved": approved, "text": "a text"}


def _smoke(revision: int, outcome: str = "ok", attempt: int = 1) -> list[Event]:
    """The two records of a smoke step."""
    key = {"iteration": 1, "seed": 1, "job": "smoke", "revision": revision, "attempt": attempt}
    end = {"outcome": outcome, "reason": f"because of {revision}", "cpu_s": 6.0, "gpu_s": 0.0}
    return [("job_submitted", key), ("job_finished", key | end)]


def test_a_draft_is_smoked_and_then_becomes_the_candidate() -> None:
    events = [*_done(0), _drafted(1)]
    smoke = JobKey(1, 1, "smoke", revision=1)
    assert _step(events) == steps.SubmitJob(smoke, 1)
    events += _smoke(1)[:1]
    assert _step(events) == steps.AwaitJobs()
    assert _step([*_done(0), _drafted(1), *_smoke(1)]) == steps.AcceptDraft(1, 1)


def test_a_campaign_may_do_without_smoke_steps() -> None:
    assert _step([*_done(0), _drafted(1)], _spec(jobs={"smoke": False})) == steps.AcceptDraft(1, 1)


@pytest.mark.parametrize("outcome", ["failed", "time_limit"])
def test_a_draft_that_fails_goes_back_until_patience_ends(outcome: str) -> None:
    spec, events = _spec(pilot=ALONE), _done(0)
    for revision in (1, 2):
        events += [_drafted(revision), *_smoke(revision, outcome)]
        assert _step(events, spec) == steps.AskPilot(1)
    events += [_drafted(3), *_smoke(3, outcome)]
    step = _step(events, spec)
    assert isinstance(step, steps.DropDraft) and "because of 3" in step.reason
    events.append(("no_proposal", {"iteration": 1, "reason": step.reason}))
    assert _step(events, spec) == steps.AskPilot(2)


def test_a_draft_that_passes_after_two_failures_is_tried() -> None:
    events = [*_done(0), _drafted(1), *_smoke(1, "failed"), _drafted(2), *_smoke(2, "failed")]
    assert _step([*events, _drafted(3), *_smoke(3)], _spec(pilot=ALONE)) == steps.AcceptDraft(1, 3)


def test_a_draft_that_touches_protected_files_gets_no_second_chance() -> None:
    step = _step([*_done(0), _drafted(1), *_smoke(1, "protected_changed")])
    assert isinstance(step, steps.DropDraft)


def test_what_the_machine_does_to_a_smoke_step_is_not_the_drafts_fault() -> None:
    events = [*_done(0), _drafted(1), *_smoke(1, "lost")]
    smoke = JobKey(1, 1, "smoke", revision=1)
    assert _step(events) == steps.SubmitJob(smoke, 2)
    assert _step([*events, *_smoke(1, "ok", attempt=2)]) == steps.AcceptDraft(1, 1)
    events += [*_smoke(1, "lost", 2), *_smoke(1, "lost", 3)]
    assert isinstance(_step(events), steps.Pause)
    assert _step([*events, ("resumed", {})]) == steps.SubmitJob(smoke, 4)
    assert isinstance(_step([*_done(0), _drafted(1), *_smoke(1, "not_isolated")]), steps.Pause)


def test_a_failed_smoke_step_is_no_fault_of_the_revision_that_is_judged() -> None:
    tried = _done(1)
    events = [*_done(0), _drafted(1), *_smoke(1, "failed"), _drafted(2), *_smoke(2), *tried[:-1]]
    assert _step(events) == steps.Judge(1)


def test_the_reviewer_sees_every_draft_before_it_costs_a_job() -> None:
    spec = _spec(pilot=LANGUAGE_MODEL)
    events = [*_done(0), _drafted(1)]
    assert _step(events, spec) == steps.AskReviewer(1, 1)
    events.append(_reviewed(1, approved=True))
    assert isinstance(_step(events, spec), steps.SubmitJob)
    events += [*_smoke(1, "failed"), _drafted(2)]
    assert _step(events, spec) == steps.AskReviewer(1, 2)


def test_the_first_objection_sends_a_draft_back_and_the_second_stays_on_record() -> None:
    spec = _spec(pilot=LANGUAGE_MODEL)
    events = [*_done(0), _drafted(1), _reviewed(1, approved=False)]
    assert _step(events, spec) == steps.AskPilot(1)
    events += [_drafted(2), _reviewed(2, approved=False)]
    assert _step(events, spec) == steps.SubmitJob(JobKey(1, 1, "smoke", 2), 1)
    events += [*_smoke(2, "failed"), _drafted(3), _reviewed(3, approved=False)]
    assert _step(events, spec) == steps.SubmitJob(JobKey(1, 1, "smoke", 3), 1)


def test_a_verdict_is_followed_by_its_lesson_and_the_baseline_has_none() -> None:
    spec = _spec(pilot=LANGUAGE_MODEL)
    assert _step(_done(0), spec) == steps.AskPilot(1)
    events = _done(0) + _done(1, "reverted")
    assert _step(events, spec) == steps.DrawLesson(1)
    assert _step(events, _spec(pilot=ALONE)) == steps.AskPilot(2)
    assert _step([*events, ("lesson", {"iteration": 1, "text": ""})], spec) == steps.AskPilot(2)
    assert _step(_done(0) + _done(1) + _done(2), spec) == steps.DrawLesson(2)


def test_a_pilot_whose_drafts_all_fail_is_not_taken_for_silent() -> None:
    spec = _spec(pilot=ALONE | {"smoke_retries": 0}, budget={"iterations": 9, "optimizer_steps": 1})
    events = _done(0)
    for number in (1, 2, 3):
        events += [_drafted(1, number), ("no_proposal", {"iteration": number, "reason": "failed"})]
    assert _step(events, spec) == steps.AskPilot(4)


@dataclass
class World:
    """What answers the steps of a lineage: always the same to the same step."""

    objections: set[tuple[int, int]] = field(default_factory=set)
    smoke: dict[tuple[int, int, int], str] = field(default_factory=dict)
    """How an attempt (iteration, revision, attempt) of a smoke step ends, where it does not end well."""
    gives_up: set[tuple[int, int]] = field(default_factory=set)

    def answer(self, step: steps.Step, state: State) -> Event:
        """The record that carrying out the step writes."""
        match step:
            case steps.ProposeBaseline():
                return "proposed", {"iteration": 0}
            case steps.AskPilot(n):
                revision = 1 + (len(state.iterations[n].drafts) if n < len(state.iterations) else 0)
                if (n, revision) in self.gives_up:
                    return "no_proposal", {"iteration": n, "reason": "withdrawn"}
                return _drafted(revision, n)
            case steps.AskReviewer(n, revision):
                approved = (n, revision) not in self.objections
                said = {"iteration": n, "revision": revision, "approved": approved, "text": "t"}
                return "reviewed", said
            case steps.AcceptDraft(n, revision):
                draft = state.iterations[n].drafts[revision - 1]
                kept = {"title": draft.title, "hypothesis": draft.hypothesis}
                return "proposed", {"iteration": n, "recipe_digest": draft.recipe_digest} | kept
            case steps.DropDraft(n, reason):
                return "no_proposal", {"iteration": n, "reason": reason}
            case steps.SubmitJob(key, attempt):
                return "job_submitted", named(key, attempt)
            case steps.AwaitJobs():
                key, flying = state.in_flight()[0]
                how = self.smoke.get((key.iteration, key.revision, flying.number), "ok")
                end = {"outcome": how, "reason": "r", "cpu_s": 1.0, "gpu_s": 0.0}
                return "job_finished", named(key, flying.number) | end
            case steps.Weigh(n):
                return "weighed", {"iteration": n}
            case steps.Judge(n):
                return "verdict", {"iteration": n, "verdict": "accepted", "incumbent": n, "reason": "r"}
            case steps.DrawLesson(n):
                return "lesson", {"iteration": n, "text": f"lesson {n}"}
            case steps.Confirm() | steps.Examine() | steps.Ablate():
                raise AssertionError("this campaign confirms nothing")
            case steps.CompareSealed():
                return "sealed_check", {}
            case steps.Pause(reason):
                return "paused", {"reason": reason}
            case steps.Finish(reason):
                return "finished", {"reason": reason}

    def play(self, events: list[Event], spec: CampaignSpec) -> list[Event]:
        """Carry a lineage on from a ledger to its end."""
        events = list(events)
        while True:
            state = replay(records(events))
            if state.finished is not None:
                return events
            assert len(events) < 300, "the lineage does not end"
            events.append(self.answer(next_step(state, spec), state))


def test_killed_after_any_record_a_lineage_takes_the_same_way_to_its_end() -> None:
    world = World(
        objections={(1, 1), (2, 2), (2, 3)},
        smoke={(1, 2, 1): "failed", (1, 3, 1): "lost", (2, 1, 1): "time_limit", (3, 1, 1): "failed",
               (3, 2, 1): "failed", (3, 3, 1): "failed", (4, 1, 1): "failed"},
        gives_up={(4, 2)},
    )  # fmt: skip
    spec = _spec(pilot=LANGUAGE_MODEL, seeds=[1], budget={"iterations": 5, "optimizer_steps": 1})
    whole = world.play([], spec)
    for kept in range(len(whole)):
        assert world.play(whole[:kept], spec) == whole
    state = replay(records(whole))
    assert [len(i.drafts) for i in state.iterations] == [0, 3, 3, 3, 1, 1]
    assert [i.no_proposal is not None for i in state.iterations] == [False, False, False, True, True, False]
    assert [i.lesson for i in state.iterations] == [None, "lesson 1", "lesson 2", None, None, "lesson 5"]
    submitted = [(body["iteration"], body.get("revision", 0), body["job"], body["attempt"])
                 for kind, body in whole if kind == "job_submitted"]  # fmt: skip
    assert len(submitted) == len(set(submitted)), "an attempt was submitted twice"


def test_a_job_in_flight_when_the_run_was_interrupted_is_awaited_not_submitted_again() -> None:
    events = [*_done(0), _drafted(1), _smoke(1)[0], ("paused", {"reason": "x"}), ("resumed", {})]
    assert _step(events) == steps.AwaitJobs()
