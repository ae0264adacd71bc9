"""A campaign that a model drove over HTTP, driven again by its record with the model gone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mlipilot.audit.files import sha256_file
from mlipilot.audit.ledger import read_ledger
from mlipilot.campaign.spec import RECIPES
from mlipilot.controller.state import replay
from mlipilot.controller.verification import verify_run
from mlipilot.paths import RunPaths
from tests.end_to_end.conftest import mlipilot, with_data, write_campaign
from tests.end_to_end.stand_in_model import stand_in_model

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("replay")]
CHANGES: dict[str, Any] = {"seeds": [1], "budget": {"iterations": 1, "optimizer_steps": 12}}
WITHOUT_SMOKE = {"smoke": False, "train_wall_limit_s": 300, "evaluate_wall_limit_s": 300}


@pytest.fixture(scope="module")
def recorded(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    directory = tmp_path_factory.mktemp("recorded")
    with stand_in_model() as server:
        pilot = {"kind": "openai", "base_url": server.base_url, "model": "m", "trust_env": False}
        campaign = _prepared(tiny_data, directory, pilot=pilot)
        mlipilot("run", campaign, cwd=directory)
    return RunPaths(directory / "runs" / "tiny")


def _prepared(data: Path, directory: Path, **changes: Any) -> Path:
    with_data(data, directory)
    return write_campaign(directory, jobs=WITHOUT_SMOKE, **CHANGES, **changes)


def _course(run: RunPaths) -> list[tuple[str, Any]]:
    """What the pilot did and what came of it: patches, weights, verdicts, lessons."""
    lineage = run.lineage(0)
    state = replay(read_ledger(lineage.ledger))
    course: list[tuple[str, Any]] = [("end", state.finished), ("incumbent", state.incumbent)]
    for iteration in state.iterations:
        directory = lineage.iteration(iteration.number)
        course += [
            ("patch", (directory / "patch.diff").read_text()),
            ("hypothesis", iteration.hypothesis),
            ("weights", sha256_file(directory / "seed-1/train/attempt-1/output/model/weights.safetensors")),
            ("verdict", [getattr(iteration.verdict, key, None) for key in ("verdict", "reason", "gain")]),
            ("review", iteration.reviews),
            ("lesson", iteration.lesson),
        ]
    return course


def test_a_replay_reaches_the_same_patches_weights_and_verdicts(recorded: RunPaths, tmp_path: Path) -> None:
    campaign = _prepared(recorded.data, tmp_path)
    mlipilot("run", campaign, "--set", f"pilot.replay={recorded.root}", cwd=tmp_path)
    run = RunPaths(tmp_path / "runs" / "tiny")
    assert _course(run) == _course(recorded)
    assert [part for part in _course(run) if part[0] == "lesson"][-1][1] == "A learning rate was tried."
    roles = [json.loads(line)["role"] for line in run.lineage(0).transcript.read_text().splitlines()]
    assert roles == ["researcher"] * 4 + ["reviewer", "analyst"]
    assert verify_run(run).problems == []
    assert "replay of a language model m" in run.report_md.read_text()


@pytest.mark.sweep  # tests/controller/test_recording.py has it without a training
def test_one_changed_byte_of_the_baseline_stops_it_with_the_place(recorded: RunPaths, tmp_path: Path) -> None:
    shutil.copytree(RECIPES / "mace", tmp_path / "recipe")
    recipe = tmp_path / "recipe" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("radial basis functions", "radial basis functiont"))
    campaign = _prepared(recorded.data, tmp_path, recipe="recipe")
    done = mlipilot("run", campaign, "--set", f"pilot.replay={recorded.root}", cwd=tmp_path, check=2)
    assert "iteration 1, request 1 of the researcher is not the one on record" in done.stderr
    assert "transcript.jsonl:1" in done.stderr and "radial basis functiont" in done.stderr
    run = RunPaths(tmp_path / "runs" / "tiny")
    assert "is not the one on record" in str(replay(read_ledger(run.lineage(0).ledger)).paused)
    assert not run.lineage(0).transcript.exists() and verify_run(run).problems == []
    assert "paused" in mlipilot("status", run.root, cwd=tmp_path).stdout
