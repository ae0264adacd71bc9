"""What tests of the MACE recipe share: a small data set, a recipe with a tiny model, a training of it."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML

import mlipilot
from mlipilot.datasets import cu_emt
from mlipilot.datasets.options import CuEmtOptions

SOURCE = Path(mlipilot.__file__).parent / "recipes" / "mace"


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built") / "data"
    options = CuEmtOptions(train=6, valid=4, test=4, test_large=2, sealed=4, md_interval_steps=1)
    cu_emt.build(options, out, None)
    return out


def recipe(tmp_path: Path, **changes: Any) -> Path:
    """A copy of the recipe with a tiny model and some keys (section__key) changed."""
    folder = tmp_path / "recipe"
    shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    yaml = YAML()
    content = yaml.load((folder / "recipe.yaml").read_text())
    tiny = {"model__hidden_irreps": "2x0e", "model__radial_MLP": [8], "budget__batch_size": 2}
    for dotted, value in (tiny | changes).items():
        section, key = dotted.split("__")
        content[section][key] = value
    with (folder / "recipe.yaml").open("w") as stream:
        yaml.dump(content, stream)
    return folder


Events = list[dict[str, Any]]


def arguments(data: Path, out: Path, seed: int, steps: int) -> list[str]:
    """The command line of a training, after Python's name."""
    words = ["train.py", "--recipe", "recipe.yaml", "--data", str(data / "train")]
    return [*words, "--output", str(out), "--seed", str(seed), "--max-steps", str(steps)]


def train(folder: Path, data: Path, out: Path, seed: int = 1, steps: int = 6) -> tuple[int, Events]:
    """Train in a process of its own, as the controller does."""
    command = [sys.executable, *arguments(data, out, seed, steps)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(mlipilot.__file__).parents[1])}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, env=environment)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="session")
def script() -> Any:
    return runpy.run_path(str(SOURCE / "train.py"), run_name="recipe")


Train = Callable[..., tuple[int, Events]]


@pytest.fixture
def train_here(
    script: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Train]:
    """The same in this process, which has imported MACE already."""
    dtype, threads = torch.get_default_dtype(), torch.get_num_threads()

    def run(folder: Path, data: Path, out: Path, seed: int = 1, steps: int = 6) -> tuple[int, Events]:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", arguments(data, out, seed, steps))
        capsys.readouterr()
        status: int = script["main"]()
        return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    yield run
    torch.set_default_dtype(dtype)
    torch.set_num_threads(threads)
