"""Budgets: what is used up, in words, and what is then not begun any more."""

from __future__ import annotations

import pytest

from mlipilot.campaign.extent import Budget
from mlipilot.controller.spending import LEAST_TRAINING_S, accounts, training_limit_s, used_up
from mlipilot.controller.state import State, replay
from mlipilot.paths import JobKey
from tests.controller.events import Event
from tests.events import records
from tests.report.synthetic import make_spec

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
    assert named == set(Budget.model_fields) - {
        "iterations",
        "optimizer_steps",
        "training_seconds_over_baseline",
        "first_seed_alone",
    }


def _trained(seed: int, cpu_s: float | None, iteration: int = 0, **said: object) -> list[Event]:
    key = {"iteration": iteration, "seed": seed, "job": "train", "attempt": 1}
    ended = {"outcome": "ok", "cpu_s": cpu_s, "gpu_s": 7.0, "wall_s": 50.0} | said
    return [("job_submitted", key), ("job_finished", key | ended)]


def test_a_candidates_training_may_take_so_many_times_what_the_baselines_took() -> None:
    state = replay(records([*_trained(1, 10.0), *_trained(2, 30.0), *_trained(1, 900.0, iteration=1)]))
    spec = make_spec(seeds=[1, 2])
    assert training_limit_s(state, spec, JobKey(1, 1, "train")) == 4 * 20
    assert training_limit_s(state, spec, JobKey(2, 2, "train")) == 4 * 20
    for free in (
        JobKey(0, 1, "train"),
        JobKey(1, 1, "evaluate"),
        JobKey(1, 1, "smoke", 1),
        JobKey(1, 1, "sealed"),
    ):
        assert training_limit_s(state, spec, free) is None
    assert training_limit_s(State(), spec, JobKey(1, 1, "train")) is None
    on_gpus = make_spec(seeds=[1, 2], jobs={"device": "cuda"})
    assert training_limit_s(state, on_gpus, JobKey(1, 1, "train")) == 4 * 7
    budget = {"iterations": 1, "optimizer_steps": 10, "training_seconds_over_baseline": 1.5}
    assert training_limit_s(state, make_spec(seeds=[1, 2], budget=budget), JobKey(1, 1, "train")) == 30
    unbound = make_spec(seeds=[1, 2], budget=budget | {"training_seconds_over_baseline": None})
    assert training_limit_s(state, unbound, JobKey(1, 1, "train")) is None


def test_a_training_may_always_begin_and_unknown_cpu_time_counts_as_wall_time() -> None:
    spec = make_spec(seeds=[1])
    brief = replay(records(_trained(1, 0.1)))
    assert training_limit_s(brief, spec, JobKey(1, 1, "train")) == LEAST_TRAINING_S
    unknown = replay(records(_trained(1, None)))
    assert training_limit_s(unknown, spec, JobKey(1, 1, "train")) == 4 * 50
