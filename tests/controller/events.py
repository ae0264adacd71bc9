"""Events of a lineage as the controller writes them, each whole: here alone do tests of laws build them."""

from __future__ import annotations

from typing import Any

from mlipilot.audit.events import body_of
from mlipilot.controller.state import State, replay
from tests.events import records

Event = tuple[str, dict[str, Any]]
HYPOTHESIS = {
    "title": "Wider radial network",
    "hypothesis": "A wider radial network lowers the forces' errors.",
    "mechanism": "It resolves the repulsive wall better.",
    "expected_effect": [{"metric": "force_mae_mev_per_a", "direction": "decrease"}],
}


def state_of(*events: Event) -> State:
    """What a lineage knows after these events, at times t0, t1, …"""
    return replay(records(events))


def told(event: Any) -> dict[str, Any]:
    """What an event says that the state has kept."""
    return body_of(event)


def started(lineage: int = 0) -> Event:
    return "campaign_started", {"lineage": lineage}


def resumed(unattended: bool = False) -> Event:
    return "resumed", {"unattended": True} if unattended else {}


def paused(reason: str = "no space") -> Event:
    return "paused", {"reason": reason}


def cancelled() -> Event:
    return "cancelled", {}


def finished(reason: str = "enough") -> Event:
    return "finished", {"reason": reason, "incumbent": 0}


def drafted(iteration: int, revision: int = 1, title: str = "a draft") -> Event:
    body = {"iteration": iteration, "revision": revision, "title": title, "hypothesis": HYPOTHESIS}
    return "drafted", body | {"recipe_digest": f"{iteration:032x}{revision:032x}"}


def reviewed(iteration: int, revision: int = 1, *, approved: bool) -> Event:
    body = {"iteration": iteration, "revision": revision, "approved": approved, "text": "why"}
    return "reviewed", body


def proposed(iteration: int, hypothesis: dict[str, Any] | None = None, title: str = "a candidate") -> Event:
    body = {"iteration": iteration, "title": title, "hypothesis": hypothesis}
    return "proposed", body | {"recipe_digest": "d" * 64}


def no_proposal(iteration: int, reason: str = "chatter") -> Event:
    return "no_proposal", {"iteration": iteration, "reason": reason}


def gave_up(iteration: int, reason: str = "nothing left") -> Event:
    return "gave_up", {"iteration": iteration, "reason": reason}


def exchange(prompt: int, completion: int, usd: float) -> Event:
    body = {"iteration": 1, "prompt_tokens": prompt, "completion_tokens": completion, "usd": usd}
    return "exchange", body


def probed(prompt: int, completion: int, usd: float, **abilities: Any) -> Event:
    body = {"base_url": "http://a/v1", "model": "m", "why": "w", "requests": 2}
    spent = {"prompt_tokens": prompt, "completion_tokens": completion, "usd": usd}
    return "endpoint_probed", body | spent | abilities


def submitted(iteration: int, seed: int, job: str, attempt: int = 1, revision: int = 0) -> Event:
    named = {"iteration": iteration, "seed": seed, "job": job, "attempt": attempt}
    return "job_submitted", named | ({"revision": revision} if revision else {})


def ended(
    iteration: int,
    seed: int,
    job: str,
    outcome: str = "ok",
    attempt: int = 1,
    revision: int = 0,
    **more: Any,
) -> list[Event]:
    """Submitted and over."""
    begin = submitted(iteration, seed, job, attempt, revision)
    reason = None if outcome == "ok" else f"{job} {attempt} {outcome}"
    end = {"outcome": outcome, "reason": reason, "cpu_s": 10.0, "gpu_s": 0.5, "wall_s": 11.0}
    return [begin, ("job_finished", begin[1] | end | more)]


def measured(iteration: int, *seeds: int) -> list[Event]:
    """A candidate that is trained and evaluated with these seeds."""
    return [
        proposed(iteration),
        *(event for seed in seeds for job in ("train", "evaluate") for event in ended(iteration, seed, job)),
    ]


def verdict(iteration: int, word: str = "accepted", incumbent: int | None = 0, reason: str = "r") -> Event:
    body = {"iteration": iteration, "verdict": word, "incumbent": incumbent, "reason": reason}
    return "verdict", body


def lesson(iteration: int, text: str = "wider is better") -> Event:
    return "lesson", {"iteration": iteration, "text": text}


def sealed_check() -> Event:
    return "sealed_check", {"0": {}}
