"""What a lineage has spent of what it may spend; looked at before each call, each job and each hypothesis."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from mlipilot.audit.events.running import JobFinished
from mlipilot.audit.ledger import Ledger
from mlipilot.campaign.extent import Budget
from mlipilot.campaign.spec import CampaignSpec
from mlipilot.controller.accept import mean
from mlipilot.controller.state import State, replay
from mlipilot.endpoint.exchange import BudgetSpentError, Completer, Exchange
from mlipilot.paths import JobKey

Purpose = Literal["jobs", "calls"]
LEAST_TRAINING_S = 10.0
"""Machine time that any training may take: imports alone take some, and more on one day than on another."""


@dataclass(frozen=True)
class Account:
    """One thing that a budget may bound. `purpose`: what is not begun any more once it is used up."""

    name: str
    """The key under `budget:`."""
    words: str
    spent: float
    limit: float | None
    purpose: tuple[Purpose, ...]

    @property
    def is_used_up(self) -> bool:
        """Whether there is a bound, and it is reached."""
        return self.limit is not None and self.spent >= self.limit


def accounts(state: State, budget: Budget, elapsed_s: float) -> list[Account]:
    """Every account of a lineage; `elapsed_s` since its first record, pauses included."""
    jobs: tuple[Purpose, ...] = ("jobs",)
    calls: tuple[Purpose, ...] = ("calls",)
    return [
        Account("cpu_seconds", "CPU-seconds", state.cpu_seconds, budget.cpu_seconds, jobs),
        Account("gpu_seconds", "GPU-seconds", state.gpu_seconds, budget.gpu_seconds, jobs),
        Account("wall_seconds", "s of wall time", elapsed_s, budget.wall_seconds, (*jobs, *calls)),
        Account("prompt_tokens", "prompt tokens", state.prompt_tokens, budget.prompt_tokens, calls),
        Account(
            "completion_tokens", "completion tokens", state.completion_tokens, budget.completion_tokens, calls
        ),
        Account("usd", "US dollars", state.usd, budget.usd, calls),
    ]


def elapsed_s(state: State, until: datetime | None = None) -> float:
    """Since the lineage's first record, until now where no other time is given."""
    if state.first_time is None:
        return 0.0
    return ((until or datetime.now(UTC)) - datetime.fromisoformat(state.first_time)).total_seconds()


def used_up(state: State, budget: Budget, elapsed_s: float, purpose: Purpose | None = None) -> str | None:
    """Which budget is used up, in words, or None; of those that bound a purpose, or of all."""
    for account in accounts(state, budget, elapsed_s):
        if account.is_used_up and (purpose is None or purpose in account.purpose):
            return f"the budget of {account.limit:g} {account.words} is used up"
    return None


def machine_seconds(ended: JobFinished, spec: CampaignSpec) -> float:
    """What a job took of the machine: GPU-seconds in a campaign on GPUs, else CPU-seconds."""
    return ended.gpu_s if spec.jobs.device == "cuda" else ended.counted_cpu_s


def training_limit_s(state: State, spec: CampaignSpec, key: JobKey) -> float | None:
    """The machine seconds that a job may take, by what the baseline's trainings are on record with.

    None where nothing but time bounds it: the baseline's own trainings, what is no training, and where the
    campaign sets no such budget.
    """
    multiple = spec.budget.training_seconds_over_baseline
    if multiple is None or key.kind != "train" or key.iteration == 0:
        return None
    trained = [state.last(JobKey(0, seed, "train")) for seed in spec.seeds]
    taken = [machine_seconds(last.ended, spec) for last in trained if last is not None and last.ended]
    return round(max(LEAST_TRAINING_S, multiple * mean(taken)), 3) if taken else None


def check_calls(ledger: Ledger, budget: Budget) -> None:
    """Raises BudgetSpentError when a budget that bounds the pilot's calls is used up."""
    state = replay(ledger.records)
    reason = used_up(state, budget, elapsed_s(state), "calls")
    if reason is not None:
        raise BudgetSpentError(reason)


class Metered:
    """An endpoint that is asked only while a lineage's budget allows it."""

    def __init__(self, endpoint: Completer, ledger: Ledger, budget: Budget) -> None:
        self._endpoint, self._ledger, self._budget = endpoint, ledger, budget

    def complete(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> Exchange:
        """The endpoint's reply. Raises BudgetSpentError, or what the endpoint raises."""
        check_calls(self._ledger, self._budget)
        return self._endpoint.complete(messages, tools)
