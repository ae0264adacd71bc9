"""The recipe, killed and asked to end in the middle: it ends with the bits of an undisturbed training."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

import mlipilot
from mlipilot.checkpoint import DIRECTORY, INTERVAL_S
from tests.recipes.conftest import Events, Train, arguments, recipe, train

STEPS = 24
# Whatever has a state, in both precisions; the second stage begins to train on forces, or goes on doing so.
RECIPES: dict[str, dict[str, Any]] = {
    "float32": {
        "ema__decay": 0.9,
        "loss__kind": "huber",
        "loss__stage_two_from": 0.5,
        "loss__stress": 1.0,
        "schedule__kind": "one_cycle",
    },
    "float64": {
        "device__train_dtype": "float64",
        "ema__decay": 0.99,
        "optimiser__weight_decay": 1e-4,
        "optimiser__clip_gradient_norm": 5.0,
        "normalisation__scale": "rms_forces",
        "loss__forces": 0.0,
        "loss__stage_two_from": 0.5,
        "schedule__kind": "cosine",
    },
}


class Interrupted:
    """A training in `folder` that keeps a checkpoint after each step, one process after the other."""

    def __init__(self, folder: Path, data: Path, out: Path, seed: int = 1) -> None:
        self.folder, self.out, self.log, self.errors = folder, out, out / "log", out / "errors"
        out.mkdir()
        self.command = [sys.executable, *arguments(data, out, seed, STEPS)]
        self.place = out / "checkpoint"

    @property
    def kept(self) -> int:
        """The step of the newest checkpoint."""
        try:
            return int(json.loads((self.place / "checkpoint.json").read_text())["content"]["step"])
        except FileNotFoundError:
            return 0

    def start(self) -> subprocess.Popen[bytes]:
        told = {DIRECTORY: str(self.place), INTERVAL_S: "0", "OMP_NUM_THREADS": "1"}
        told |= {"PYTHONPATH": str(Path(mlipilot.__file__).parents[1])}
        with self.log.open("wb") as log, self.errors.open("wb") as errors:
            return subprocess.Popen(
                self.command, cwd=self.folder, env=os.environ | told, stdout=log, stderr=errors
            )

    def end(self, number: int, at_step: int) -> int:
        """Run it until that step is kept, then send a signal; its exit status."""
        process = self.start()
        while self.kept < at_step:
            assert process.poll() is None, self.errors.read_text()
            time.sleep(0.002)
        process.send_signal(number)
        return process.wait(timeout=60)

    def finish(self) -> Events:
        assert self.start().wait(timeout=120) == 0, self.errors.read_text()
        return [json.loads(line) for line in self.log.read_text().splitlines()]


def _rows(events: Events) -> Events:
    """Without their times."""
    progress = [event for event in events if event["event"] == "progress"]
    return [{name: value for name, value in row.items() if name != "elapsed_s"} for row in progress]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["float32", pytest.param("float64", marks=pytest.mark.sweep)])
def test_it_ends_with_the_weights_and_the_log_of_an_undisturbed_training(
    tmp_path: Path, data: Path, kind: str
) -> None:
    folder = recipe(tmp_path, reporting__log_every_steps=1, **RECIPES[kind])
    status, undisturbed = train(folder, data, tmp_path / "undisturbed", steps=STEPS)
    assert status == 0
    dice = random.Random(kind)
    cut = Interrupted(folder, data, tmp_path / "cut")
    assert cut.end(signal.SIGKILL, dice.randint(1, STEPS // 3)) == -signal.SIGKILL
    assert cut.end(signal.SIGTERM, cut.kept + dice.randint(1, STEPS // 3)) == 128 + signal.SIGTERM
    kept = cut.kept
    found = cut.finish()
    assert f"the training goes on after step {kept}, where its checkpoint is" in cut.errors.read_text()
    assert [row["step"] for row in _rows(found)] == list(range(1, STEPS + 1))
    assert _rows(found) == _rows(undisturbed)
    assert found[-1]["weights_digest"] == undisturbed[-1]["weights_digest"]
    elapsed = [event["elapsed_s"] for event in found if "elapsed_s" in event]
    assert elapsed == sorted(elapsed)


@pytest.mark.slow  # tests/test_checkpoint.py refuses them without a training
def test_a_broken_checkpoint_or_that_of_another_seed_costs_time_only(
    tmp_path: Path,
    data: Path,
    train_here: Train,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, place = recipe(tmp_path, reporting__log_every_steps=1), tmp_path / "checkpoint"
    _, undisturbed = train_here(folder, data, tmp_path / "undisturbed")
    monkeypatch.setenv(DIRECTORY, str(place))
    monkeypatch.setenv(INTERVAL_S, "0")
    train_here(folder, data, tmp_path / "other", seed=2)
    for fault in ("of another seed", "cut off"):
        for path in place.glob("*.safetensors"):
            if fault == "cut off":
                path.write_bytes(path.read_bytes()[:1000])
        with redirect_stderr(StringIO()) as said:
            _, found = train_here(folder, data, tmp_path / "again")
        assert "the checkpoint is not used, the training begins anew" in said.getvalue(), fault
        assert _rows(found) == _rows(undisturbed), fault
        assert found[-1]["weights_digest"] == undisturbed[-1]["weights_digest"], fault
