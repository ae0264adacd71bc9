"""A small recipe, and a turn over it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlipilot.pilots.outcomes import TurnInput

RECIPE_YAML = """\
model:
  hidden_irreps: 4x0e   # channels
loss:
  forces: 100.0         # weight of the forces
  stress: 0.0
  stage_two: {forces: 100.0, stress: 1000.0}
schedule:
  kind: constant
ema:
  decay: 0.0
"""
TRAIN_PY = "def main():\n    print('training')\n\n\nmain()\n"


@pytest.fixture
def incumbent(tmp_path: Path) -> Path:
    recipe = tmp_path / "incumbent"
    recipe.mkdir()
    (recipe / "recipe.yaml").write_text(RECIPE_YAML, encoding="utf-8")
    (recipe / "train.py").write_text(TRAIN_PY, encoding="utf-8")
    return recipe


@pytest.fixture
def draft(tmp_path: Path, incumbent: Path) -> Path:
    return Path(shutil.copytree(incumbent, tmp_path / "draft"))


def history_entry(iteration: int, title: str, **changes: Any) -> dict[str, Any]:
    entry = {
        "iteration": iteration,
        "title": title,
        "hypothesis": "",
        "verdict": "accepted",
        "reason": "",
        "effects": [],
        "score": {"violation": 3.0, "log_objective": None},
        "metrics": {"force_mae_mev_per_a": 63.0},
        "parameters": {},
        "diff": "",
    }
    return entry | changes


@pytest.fixture
def make_turn(draft: Path, incumbent: Path) -> Callable[..., TurnInput]:
    def make(**changes: Any) -> TurnInput:
        gate = {"metric": "force_mae_mev_per_a", "bound": "≤ 25", "value": 63.2, "passed": False, "why": "MD"}
        given: dict[str, Any] = {
            "iteration": 1,
            "draft": draft,
            "incumbent": incumbent,
            "starting": incumbent,
            "history": [history_entry(0, "baseline")],
            "logs": {},
            "scorecard": {"gates": [gate]},
            "max_steps": 400,
        }
        return TurnInput(**given | changes)

    return make
