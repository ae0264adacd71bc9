"""A search pilot carries a real campaign, from the command line to a verified report."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from mlipilot.paths import RunPaths
from mlipilot.pilots.space import values_in
from tests.end_to_end.conftest import mlipilot, write_campaign

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("undisturbed")]

SPACE = {
    "loss.energy": {"low": 0.1, "high": 1000, "log": True},
    "optimiser.learning_rate": {"low": 0.001, "high": 0.1, "log": True},
    "schedule.kind": {"choices": ["constant", "cosine", "one_cycle"]},
    "budget.batch_size": {"low": 2, "high": 4, "integer": True},
}


@pytest.mark.sweep
def test_tpe_runs_a_campaign(undisturbed: RunPaths, tmp_path: Path) -> None:
    budget = {"iterations": 1, "optimizer_steps": 12}
    campaign = write_campaign(tmp_path, pilot={"kind": "tpe"}, space=SPACE, seeds=[1], budget=budget)
    run = RunPaths(tmp_path / "runs" / "tiny")
    shutil.copytree(undisturbed.data, run.data)  # the same data set; it need not be built twice
    mlipilot("run", campaign, cwd=tmp_path)
    mlipilot("verify", run.root, cwd=tmp_path)
    tried = run.lineage(0).iteration(1)
    text = (tried / "recipe" / "recipe.yaml").read_text()
    values = values_in(text, SPACE)
    before = values_in((run.recipe / "recipe.yaml").read_text(), SPACE)
    assert values.keys() == SPACE.keys()
    assert all(values[path] != before[path] for path in ("loss.energy", "optimiser.learning_rate"))
    hypothesis = YAML(typ="safe").load((tried / "hypothesis.yaml").read_text())
    assert hypothesis["title"] == "TPE, suggestion 1"
    assert "TPE search over 4 declared parameters (no language model)" in run.report_md.read_text()
