"""A lineage's state as a fold over its events: each event, and what it leaves alone."""

from __future__ import annotations

import pytest

from mlipilot.audit.ledger import LedgerError
from mlipilot.controller.state import NOT_RUN, OWN_FAULTS, Attempt, Iteration, State
from mlipilot.endpoint.abilities import Abilities
from mlipilot.paths import JobKey
from tests.controller.events import (
    HYPOTHESIS,
    Event,
    cancelled,
    drafted,
    ended,
    exchange,
    finished,
    gave_up,
    lesson,
    measured,
    no_proposal,
    paused,
    probed,
    proposed,
    resumed,
    reviewed,
    sealed_check,
    started,
    state_of,
    submitted,
    told,
    verdict,
)

TRAIN = JobKey(0, 1, "train")


def test_before_the_first_event_nothing_is_known() -> None:
    state = state_of()
    assert state == State()
    assert (state.started, state.iterations, state.jobs, state.incumbent) == (None, [], {}, None)
    assert (state.gave_up, state.sealed_check, state.finished, state.paused) == (None, None, None, None)
    assert (state.asked, state.examined, state.ablation_asked, state.ablated) == (None, None, None, None)
    assert (state.cancelled, state.endpoints, state.phase) == (False, {}, "preparing")
    assert (state.exchanges, state.prompt_tokens, state.completion_tokens, state.usd) == (0, 0, 0, 0.0)
    assert (state.cpu_seconds, state.gpu_seconds) == (0.0, 0.0)
    assert (state.first_time, state.last_time) == (None, None)
    assert (Iteration(0).title, Iteration(0).hypothesis, Attempt(1).forgiven) == ("", None, False)


def test_the_times_are_of_the_first_and_of_the_last_event() -> None:
    state = state_of(started(), paused(), resumed())
    assert (state.first_time, state.last_time) == ("t0", "t2")


@pytest.mark.parametrize(
    ("events", "phase"),
    [
        ([started()], "open"),
        ([paused()], "paused"),
        ([started(), paused()], "paused"),
        ([paused(), started()], "open"),
        ([started(), paused(), resumed()], "open"),
        ([started(), cancelled()], "cancelled"),
        ([started(), paused(), cancelled()], "cancelled"),
        ([started(), cancelled(), resumed()], "open"),
        ([cancelled(), started()], "open"),
        ([started(), cancelled(), finished()], "finished"),
        ([started(), paused(), finished()], "finished"),
        ([("ledger_repaired", {"bytes_cut": 3, "sha256": "0" * 64})], "preparing"),
    ],
    ids=str,
)
def test_the_phase_in_one_word(events: list[Event], phase: str) -> None:
    assert state_of(*events).phase == phase


def test_what_is_told_in_words_is_kept() -> None:
    state = state_of(started(3), paused("why not"), gave_up(1), sealed_check(), finished("the end"))
    assert told(state.started)["lineage"] == 3
    assert (state.paused, state.gave_up, state.finished) == ("why not", "nothing left", "the end")
    assert told(state.sealed_check) == {"0": {}}


def test_who_asks_for_a_confirmation_opens_what_was_over_and_the_exam_is_kept() -> None:
    over = [started(), sealed_check(), finished("the end")]
    asked: Event = ("confirmation_asked", {"seeds": 5, "alpha": 0.05})
    state = state_of(*over, asked)
    assert told(state.asked) == {"seeds": 5, "alpha": 0.05}
    assert (state.finished, state.sealed_check, state.examined, state.phase) == (None, None, None, "open")
    again = state_of(*over, asked, ("examined", {"results": []}), finished("the end"))
    assert told(again.examined) == {"results": []} and again.finished == "the end"


def test_who_asks_for_an_ablation_takes_up_a_lineage_that_was_over_and_leaves_what_was_said_of_it() -> None:
    over = [started(), sealed_check(), ("examined", {"results": []}), finished("the end")]
    none: Event = ("ablation_asked", {"steps": []})
    state = state_of(*over, none)
    assert told(state.ablation_asked) == {"steps": []} and state.ablated is None
    assert (state.finished, state.phase) == (None, "open")
    assert state.sealed_check is not None and state.examined is not None
    again = state_of(*over, none, ("ablated", {"steps": []}), finished("again"))
    assert told(again.ablated) == {"steps": []} and again.finished == "again"


def test_what_a_first_seed_says_is_of_its_iteration() -> None:
    said = {"iteration": 1, "gain": -0.5, "bound": -0.25, "lost": "it has"}
    state = state_of(started(), proposed(0), proposed(1), ("weighed", said))
    assert [None if i.weighed is None else told(i.weighed) for i in state.iterations] == [None, said]


def test_exchanges_and_probes_add_up() -> None:
    abilities = {
        "mode": "prompt",
        "context_tokens": 4096,
        "max_tokens_field": "max_completion_tokens",
        "takes_system_role": False,
    }
    probe = probed(7, 5, 0.25, **abilities)
    state = state_of(exchange(100, 10, 0.5), exchange(200, 30, 1.0), probe, exchange(1, 2, 3.0))
    assert state.exchanges == 3
    assert (state.prompt_tokens, state.completion_tokens, state.usd) == (308, 47, 4.75)
    assert state.endpoints == {
        ("http://a/v1", "m"): Abilities("prompt", 4096, "max_completion_tokens", takes_system_role=False)
    }
    assert state_of(probe, probe).prompt_tokens == 14
    assert state_of(probe, probe).completion_tokens == 10
    assert state_of(probe, probe).usd == 0.5


def test_a_draft_is_kept_in_the_order_of_revisions() -> None:
    state = state_of(drafted(2), reviewed(2, 1, approved=False), drafted(2, 2, "a better draft"))
    assert [iteration.number for iteration in state.iterations] == [0, 1, 2]
    iteration = state.iterations[2]
    assert (iteration.title, iteration.recipe_digest) == ("a better draft", None)
    assert told(iteration.hypothesis)["title"] == HYPOTHESIS["title"]
    kept = [(draft.revision, draft.title, int(draft.recipe_digest[-32:])) for draft in iteration.drafts]
    assert kept == [(1, "a draft", 1), (2, "a better draft", 2)]
    assert [told(draft.hypothesis)["title"] for draft in iteration.drafts] == [HYPOTHESIS["title"]] * 2
    assert state.iterations[1] == Iteration(1)


def test_a_candidate_has_its_own_title_hypothesis_and_recipe() -> None:
    state = state_of(proposed(0), drafted(1), proposed(1, HYPOTHESIS, "better"))
    baseline, candidate = state.iterations
    assert (baseline.title, baseline.hypothesis, baseline.recipe_digest) == ("a candidate", None, "d" * 64)
    assert (candidate.title, candidate.recipe_digest) == ("better", "d" * 64)
    assert told(candidate.hypothesis)["title"] == HYPOTHESIS["title"]
    assert baseline.proposed and not Iteration(0).proposed


def test_an_iteration_is_over_with_a_verdict_or_without_a_proposal() -> None:
    open_, judged, silent = state_of(proposed(0), verdict(1), no_proposal(2)).iterations
    assert (open_.judged, judged.judged, silent.judged) == (False, True, True)
    assert told(judged.verdict)["reason"] == "r"
    assert (silent.no_proposal, open_.no_proposal) == ("chatter", None)


def test_a_verdict_names_the_incumbent_and_a_lesson_belongs_to_its_iteration() -> None:
    state = state_of(verdict(0), verdict(1, "accepted", 1), lesson(1, "so it is"), verdict(2, "reverted", 1))
    assert state.incumbent == 1
    assert [iteration.lesson for iteration in state.iterations] == [None, "so it is", None]
    assert state_of(verdict(0, "invalid", None)).incumbent is None


@pytest.mark.parametrize(
    ("reviews", "sent_back"),
    [
        ([], False),
        ([None], False),
        ([True], False),
        ([False], True),
        ([False, None], False),
        ([False, True], False),
        ([False, False], False),
        ([True, False], True),
    ],
)
def test_only_the_first_objection_sends_a_draft_back(reviews: list[bool | None], sent_back: bool) -> None:
    events = [proposed(0)]
    for revision, approved in enumerate(reviews, start=1):
        events.append(drafted(0, revision))
        if approved is not None:
            events.append(reviewed(0, revision, approved=approved))
    (iteration,) = state_of(*events).iterations
    assert iteration.sent_back is sent_back


def test_a_job_has_its_attempts_in_order_and_the_newest_counts() -> None:
    events = [*ended(0, 1, "train", "lost"), submitted(0, 1, "train", 2), submitted(0, 2, "train")]
    state = state_of(*events)
    first, second = state.jobs[TRAIN]
    assert (first.number, first.outcome) == (1, "lost")
    assert told(first.ended)["reason"] == "train 1 lost"
    assert (second.number, second.outcome, second.ended) == (2, None, None)
    assert state.last(TRAIN) is second
    third = state_of(*events, submitted(0, 1, "train", 3)).last(TRAIN)
    assert third is not None and third.number == 3
    assert state.last(JobKey(0, 1, "evaluate")) is None
    assert state.in_flight() == [(TRAIN, second), (JobKey(0, 2, "train"), Attempt(1))]


def test_an_attempt_keeps_the_digest_of_its_order_where_that_is_on_record() -> None:
    kind, said = submitted(0, 1, "train", 2)
    attempts = state_of(submitted(0, 1, "train"), (kind, said | {"order_sha256": "a" * 64})).jobs[TRAIN]
    assert [attempt.order_sha256 for attempt in attempts] == [None, "a" * 64]


def test_an_end_belongs_to_the_attempt_that_it_names() -> None:
    (_, end) = ended(0, 1, "train", "ok", 1)
    attempts = state_of(submitted(0, 1, "train"), submitted(0, 1, "train", 2), end).jobs[TRAIN]
    assert [attempt.outcome for attempt in attempts] == ["ok", None]


def test_what_jobs_spend_adds_up_and_unknown_cpu_time_counts_as_wall_time() -> None:
    state = state_of(
        *ended(0, 1, "train", cpu_s=10.0, gpu_s=2.0, wall_s=3.0),
        *ended(0, 1, "evaluate", cpu_s=None, gpu_s=0.5, wall_s=7.0),
        *ended(0, 2, "train", "failed", cpu_s=0.25, gpu_s=0.0, wall_s=9.0),
    )
    assert (state.cpu_seconds, state.gpu_seconds) == (17.25, 2.5)
    assert state_of(*ended(0, 1, "train", cpu_s=0.0, wall_s=5.0)).cpu_seconds == 0.0


@pytest.mark.parametrize(
    ("outcome", "is_forgiven"),
    [
        ("lost", True),
        ("not_isolated", True),
        ("not_storable", True),
        ("ok", False),
        ("failed", False),
        ("time_limit", False),
        ("cancelled", True),
        ("protected_changed", False),
    ],
)
def test_a_person_who_resumes_forgives_what_the_machine_lost(outcome: str, is_forgiven: bool) -> None:
    before = ended(0, 1, "train", outcome)
    assert not state_of(*before).jobs[TRAIN][0].forgiven
    after = [*before, submitted(0, 2, "train"), resumed(), *ended(0, 3, "train", "lost")]
    forgiven = {key.seed: attempt.forgiven for key, (attempt,) in state_of(*after).jobs.items()}
    assert forgiven == {1: is_forgiven, 2: False, 3: False}


def test_what_was_asked_to_end_before_a_person_resumed_is_forgiven_too() -> None:
    in_flight = [submitted(0, seed, "train") for seed in (1, 2)]
    over = [ended(0, seed, "train", outcome)[1] for seed, outcome in ((1, "cancelled"), (2, "lost"))]
    later = ended(0, 3, "train", "cancelled")
    state = state_of(*in_flight, resumed(), *over, *later)
    assert {key.seed: attempt.forgiven for key, (attempt,) in state.jobs.items()} == {
        1: True,
        2: False,
        3: False,
    }


def test_who_starts_by_itself_forgives_nothing() -> None:
    unattended = resumed(unattended=True)
    before = [event for n in (1, 2) for event in ended(0, 1, "train", "lost", n)]
    asked = [*before, submitted(0, 1, "train", 3), unattended, ended(0, 1, "train", "cancelled", 3)[1]]
    counted = [attempt.forgiven for attempt in state_of(*asked).jobs[TRAIN]]
    assert counted == [False, False, False]
    assert [a.forgiven for a in state_of(*asked, unattended).jobs[TRAIN]] == [False] * 3
    assert [a.forgiven for a in state_of(*asked, resumed(), unattended).jobs[TRAIN]] == [True] * 3
    person_first = [submitted(0, 1, "train"), resumed(), unattended, ended(0, 1, "train", "cancelled")[1]]
    assert state_of(*person_first).jobs[TRAIN][0].forgiven, "a person resumed after it was asked to end"


def test_what_the_cluster_itself_lost_is_forgiven_at_once() -> None:
    attempts = state_of(
        *ended(0, 1, "train", "lost", 1, free=True), *ended(0, 1, "train", "lost", 2, free=False)
    ).jobs[TRAIN]
    assert [attempt.forgiven for attempt in attempts] == [True, False]


def test_outcomes_are_a_candidates_fault_or_of_a_job_that_did_not_begin() -> None:
    assert OWN_FAULTS == ("failed", "time_limit", "protected_changed")
    assert NOT_RUN == ("not_isolated", "not_storable")


def test_a_smoke_step_is_found_by_its_draft() -> None:
    events = [
        *ended(1, 1, "smoke", "failed", revision=1),
        *ended(1, 1, "smoke", "lost", revision=2),
        *ended(1, 1, "smoke", "ok", 2, revision=2),
        *ended(2, 1, "smoke", "failed", revision=2),
        *ended(1, 1, "train"),
    ]
    state = state_of(*events)
    assert [attempt.outcome for attempt in state.smoke_attempts(1, 2)] == ["lost", "ok"]
    newest = state.smoke(1, 2)
    assert newest is not None and newest.number == 2
    for iteration, revision in ((1, 0), (1, 3), (3, 1)):
        assert state.smoke_attempts(iteration, revision) == []
        assert state.smoke(iteration, revision) is None
    other = state.smoke(2, 2)
    assert other is not None and other.outcome == "failed"


def test_an_end_of_what_nobody_began_is_refused_with_its_line() -> None:
    with pytest.raises(LedgerError) as refused:
        state_of(started(), *ended(0, 1, "train")[1:])
    assert str(refused.value) == (
        "line 2 of a ledger (job_finished) speaks of what no line before has begun; "
        "no version up to this one writes such a ledger"
    )


def test_a_confirmation_is_kept_and_names_the_incumbent_from_then_on() -> None:
    step = {"iteration": 1, "before": 0, "measure": "violation", "gain": 1.0, "sd": 1.0, "p": 0.5}
    step |= {"level": 0.05, "confirmed": False, "passed": 0, "fault": None}
    body = {"seeds": [7, 8], "alpha": 0.05, "baseline_passed": 0, "whole": step, "steps": [step]}
    body |= {"incumbent": 0, "pass_rate_at_least": 0.0}
    events = [*measured(0, 1), verdict(0), *measured(1, 1), verdict(1, incumbent=1)]
    assert state_of(*events).incumbent == 1 and state_of(*events).confirmed is None
    state = state_of(*events, ("confirmed", body))
    assert state.incumbent == 0 and told(state.confirmed) == body


def test_a_candidate_that_a_person_drops_keeps_the_reason_and_waits_for_its_verdict() -> None:
    dropped = ("candidate_dropped", {"iteration": 1, "why": "it hangs"})
    open_, given_up = state_of(proposed(0), proposed(1), dropped).iterations
    assert (open_.dropped, given_up.dropped) == (None, "dropped by a person: it hangs")
    assert not given_up.judged and given_up.proposed
