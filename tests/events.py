"""Events of a lineage for tests that care for some of their fields: what is left out is plausible."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mlipilot.audit.events import KINDS, Event
from mlipilot.audit.ledger import Record
from mlipilot.paths import JobKey

SHA = "0" * 64
CLAIM = {
    "title": "A title",
    "hypothesis": "What is expected.",
    "mechanism": "Why it is expected.",
    "expected_effect": [{"metric": "force_mae_mev_per_a", "direction": "decrease"}],
}
_OF_RECIPE = {"title": "t", "recipe_digest": SHA, "patch_sha256": SHA, "hypothesis_sha256": SHA}
_OF_JOB = {"iteration": 0, "seed": 1, "job": "train", "attempt": 1}
_OF_RULE = {"violation": None, "log_objective": None, "gain": None, "threshold": None, "measure": None}
_LEFT_OUT: dict[str, dict[str, Any]] = {
    "campaign_started": {
        "lineage": 0,
        "campaign": "x",
        "profile": "full",
        "pilot": "scripted",
        "versions": {},
    }
    | dict.fromkeys(("spec_sha256", "scorecard_sha256", "data_manifest_sha256", "protected_sha256"), SHA)
    | dict.fromkeys(("recipe_digest", "prompts_digest"), SHA),
    "exchange": {"duration_s": 0.1, "usd": 0.0, "line": 1, "sha256": SHA},
    "drafted": _OF_RECIPE | {"hypothesis": CLAIM, "manifest_sha256": SHA},
    "proposed": _OF_RECIPE | {"hypothesis": None},
    "job_submitted": _OF_JOB,
    "job_finished": _OF_JOB
    | {"outcome": "ok", "reason": None, "cpu_s": 1.0, "gpu_s": 0.0, "wall_s": 1.0, "manifest_sha256": None},
    "verdict": _OF_RULE
    | {"iteration": 0, "verdict": "accepted", "reason": "r", "effects": [], "incumbent": 0}
    | {"manifest_sha256": SHA, "verdict_sha256": SHA},
    "paused": {"reason": "r"},
    "finished": {"reason": "r", "incumbent": None},
}


def event(kind: str, said: Mapping[str, Any] | None = None, **more: Any) -> Event:
    """An event of a kind of which this much is said."""
    return KINDS[kind].model_validate(_LEFT_OUT.get(kind, {}) | dict(said or {}) | more)


def named(key: JobKey, attempt: int = 1) -> dict[str, Any]:
    """How events name an attempt of a job."""
    said = {"iteration": key.iteration, "seed": key.seed, "job": key.kind, "attempt": attempt}
    said |= {"revision": key.revision} if key.kind == "smoke" else {}
    said |= {"fresh": True} if key.fresh else {}
    return said | ({"variant": key.variant} if key.variant else {})


def records(events: Iterable[tuple[str, Mapping[str, Any]]]) -> list[Record]:
    """A ledger of these events in memory, without its chain."""
    return [Record(i, "", f"t{i}", event(kind, said), "") for i, (kind, said) in enumerate(events)]
