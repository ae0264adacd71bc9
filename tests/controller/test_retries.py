"""When a job is tried again, by itself; the sessions of a run are in test_next_steps.py."""

from __future__ import annotations

import pytest

from mlipilot.controller.retries import next_attempt
from mlipilot.controller.state import NO_RESULT, NOT_RUN, OWN_FAULTS, Attempt
from mlipilot.paths import JobKey
from tests.controller.events import ended, state_of


def _ended(number: int, outcome: str, forgiven: bool = False) -> Attempt:
    state = state_of(*ended(0, 1, "train", outcome, number, reason=f"reason {number}"))
    (attempt,) = state.jobs[JobKey(0, 1, "train")]
    attempt.forgiven = forgiven
    return attempt


def test_what_was_never_tried_begins_with_the_first_attempt() -> None:
    assert next_attempt("train 1", [], 1) == 1


@pytest.mark.parametrize("outcome", ["ok", *OWN_FAULTS])
def test_what_has_a_result_is_not_tried_again(outcome: str) -> None:
    assert next_attempt("train 1", [_ended(1, "lost"), _ended(2, outcome)], 9) is None


def test_what_runs_is_waited_for() -> None:
    assert next_attempt("train 1", [_ended(1, "lost"), Attempt(2)], 9) is None


@pytest.mark.parametrize("outcome", sorted(set(NO_RESULT) - set(NOT_RUN)))
@pytest.mark.parametrize("most", [1, 3])
def test_without_a_result_there_are_so_many_attempts_and_no_more(outcome: str, most: int) -> None:
    tried: list[Attempt] = []
    for number in range(1, most + 1):
        assert next_attempt("train 1", tried, most) == number
        tried.append(_ended(number, outcome))
    times = "1 time" if most == 1 else "3 times"
    assert next_attempt("train 1", tried, most) == (
        f"job train 1 was {outcome} {times} without a result: reason {most}; "
        "find out what ends it, then resume"
    )


def test_the_ways_in_which_it_ended_are_named_once_each() -> None:
    tried = [_ended(1, "lost"), _ended(2, "cancelled"), _ended(3, "lost")]
    assert str(next_attempt("train 1", tried, 3)).startswith("job train 1 was cancelled or lost 3 times ")


def test_the_ways_in_which_it_ended_are_named_in_one_order() -> None:
    """Not in that of a set, which differs from start to start."""
    tried = [_ended(number, outcome) for number, outcome in enumerate(sorted(NO_RESULT, reverse=True), 1)]
    tried.append(_ended(5, "lost"))
    how = "cancelled or lost or not_isolated or not_storable"
    assert str(next_attempt("train 1", tried, 5)).startswith(f"job train 1 was {how} 5 times ")


def test_the_forgiven_are_not_counted_but_keep_their_numbers() -> None:
    tried = [_ended(1, "lost", forgiven=True), _ended(2, "cancelled", forgiven=True), _ended(3, "lost")]
    assert next_attempt("train 1", tried, 2) == 4
    assert "was lost 1 time " in str(next_attempt("train 1", tried, 1))


@pytest.mark.parametrize("outcome", NOT_RUN)
def test_what_was_refused_is_asked_again_by_a_person_alone(outcome: str) -> None:
    assert next_attempt("train 1", [_ended(1, outcome)], 9) == "job train 1 was not run: reason 1"
    assert next_attempt("train 1", [_ended(1, outcome, forgiven=True)], 1) == 2
