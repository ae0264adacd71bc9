"""Budgets: what is used up, in words, and what is then not begun any more."""

from __future__ import annotations

import pytest

from mlipilot.campaign.spec import Budget
from mlipilot.controller.spending import accounts, used_up
from mlipilot.controller.state import State, replay
from tests.events import records

SPENT = State(cpu_seconds=50.0, gpu_seconds=20.0, prompt_tokens=3000, completion_tokens=400, usd=1.25)


def _budget(**limits: float) -> Budget:
    return Budget.model_validate({"iterations": 9, "optimizer_steps": 10} | limits)


def test_without_bounds_nothing_is_used_up() -> None:
    assert used_up(SPENT, _budget(), 1e9) is None


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"cpu_seconds": 50}, "the budget of 50 CPU-seconds is used up"),
        ({"gpu_seconds": 19.5}, "the budget of 19.5 GPU-seconds is used up"),
        ({"wall_seconds": 60}, "the budget of 60 s of wall time is used up"),
        ({"prompt_tokens": 3000}, "the budget of 3000 prompt tokens is used up"),
        ({"completion_tokens": 399}, "the budget of 399 completion tokens is used up"),
        ({"usd": 1.25}, "the budget of 1.25 US dollars is used up"),
    ],
)
def test_a_bound_that_is_reached_is_named(limits: dict[str, float], words: str) -> None:
    assert used_up(SPENT, _budget(**limits), 60.0) == words
    doubled = {name: 2 * limit for name, limit in limits.items()}
    assert used_up(SPENT, _budget(**doubled), 60.0) is None


def test_tokens_stop_calls_and_not_jobs_and_the_other_way_round() -> None:
    tokens, seconds = _budget(prompt_tokens=10), _budget(gpu_seconds=10)
    assert used_up(SPENT, tokens, 0.0, "jobs") is None and used_up(SPENT, tokens, 0.0, "calls")
    assert used_up(SPENT, seconds, 0.0, "calls") is None and used_up(SPENT, seconds, 0.0, "jobs")


def test_a_job_whose_cpu_time_is_unknown_counts_with_its_wall_time() -> None:
    key = {"iteration": 0, "seed": 1, "job": "train", "attempt": 1}
    ended = key | {"outcome": "ok", "cpu_s": None, "gpu_s": 0.0, "wall_s": 50.0}
    events = [("job_submitted", key), ("job_finished", ended)]
    state = replay(records(events))
    assert used_up(state, _budget(cpu_seconds=50), 0.0) == "the budget of 50 CPU-seconds is used up"


def test_every_bound_of_a_budget_has_its_account() -> None:
    named = {account.name for account in accounts(SPENT, _budget(), 0.0)}
    assert named == set(Budget.model_fields) - {"iterations", "optimizer_steps"}
