"""A lineage whose metrics files tests write, and who reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlipilot.audit.files import sha256_file
from mlipilot.audit.manifest import MANIFEST, write_manifest
from mlipilot.campaign.spec import CampaignSpec
from mlipilot.controller.state import State
from mlipilot.controller.verdict import Measurements, compute_verdict
from mlipilot.evaluation.scorecard import Scorecard
from mlipilot.paths import JobKey, LineagePaths
from tests.controller.events import (
    Event,
    state_of,
)

FORCE, ENERGY = "force_mae_mev_per_a", "energy_mae_mev_per_atom"
SEEDS = (1, 2, 3)
SPEC = CampaignSpec.model_validate(
    {
        "name": "x",
        "dataset": {"name": "cu_emt"},
        "recipe": "mace",
        "scorecard": "s.yaml",
        "pilot": {"kind": "scripted"},
        "seeds": list(SEEDS),
        "budget": {"iterations": 2, "optimizer_steps": 10},
    }
)
CARD = Scorecard.model_validate(
    {
        "name": "x",
        "dataset": "cu_emt",
        "settings": {},
        "gates": [{"metric": FORCE, "max": 16}],
        "objective": {"terms": [{"metric": ENERGY, "weight": 1, "scale": 1}]},
        "accept": {"failed_gate_violation": 3},
    }
)
LN2 = 0.6931471805599453
INVALID = {"gain": None, "threshold": None, "measure": None, "verdict": "invalid"}


class Bench:
    """A lineage's metrics files and who reads them."""

    def __init__(self, root: Path) -> None:
        self.lineage = LineagePaths(root)
        self.open()

    def open(self) -> None:
        self.measured = Measurements(self.lineage, SPEC, CARD)

    def write(self, key: JobKey, content: object, attempt: int = 1) -> Path:
        path = self.lineage.metrics(key, attempt)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
        write_manifest(self.lineage.attempt(key, attempt))
        return path

    def state(self, *events: Event) -> State:
        """What a lineage knows after these events, whose attempts are sealed as they lie here."""
        return state_of(*(self._sealed(*event) for event in events))

    def _sealed(self, kind: str, said: dict[str, Any]) -> Event:
        if kind != "job_finished":
            return kind, said
        key = JobKey(said["iteration"], said["seed"], said["job"], said.get("revision", 0))
        manifest = self.lineage.attempt(key, said["attempt"]) / MANIFEST
        return kind, said | ({"manifest_sha256": sha256_file(manifest)} if manifest.exists() else {})

    def candidate(self, number: int, values: Mapping[int, tuple[float | None, float | None]]) -> None:
        """Force and energy errors by seed."""
        for seed, (force, energy) in values.items():
            self.write(JobKey(number, seed, "evaluate"), metrics_of({FORCE: force, ENERGY: energy}))

    def judge(self, number: int, *events: Event) -> dict[str, Any]:
        state = self.state(*events)
        return compute_verdict(state, state.iterations[number], self.measured)


def metrics_of(values: Mapping[str, float | None]) -> dict[str, Any]:
    return {
        "metrics": {
            name: {"value": value, "status": "failed" if value is None else "ok", "reason": None}
            for name, value in values.items()
        }
    }


def better(bench: Bench, number: int) -> None:
    bench.candidate(number, {1: (4.0, 0.25), 2: (4.0, 0.5), 3: (4.0, 1.0)})
