"""A campaign small enough for a test, with real training, real evaluation, a real HTTP endpoint."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from ruamel.yaml import YAML

from mlipilot.audit.manifest import is_finished
from mlipilot.campaign.spec import dump_yaml, load_campaign
from mlipilot.controller.observer import Silent
from mlipilot.controller.prepare import build_data, create_run
from mlipilot.evaluation.catalog import SPREAD
from mlipilot.paths import RunPaths
from tests.end_to_end.own_cluster import OwnCluster, own_cluster

REPOSITORY = Path(__file__).resolve().parents[2]
# As short as each measurement can be: these tests are about the loop, not about copper.
QUICK_SETTINGS = {
    "lattice": {"points": 5},
    "vacancy": {"repeats": 1, "max_steps": 20},
    "phonons": {"repeats": 1, "mesh": 2},
    "hot_forces": {"repeats": 1, "interval_ps": 0.04, "frames": 2},
    "nve": {"repeats": 1, "duration_ps": 0.02},
    "nvt": {"repeats": 1, "duration_ps": 0.04, "equilibration_ps": 0.02, "rdf_max_a": 3.0},
    "throughput": {"repeats": 1, "rounds": 3},
    "size": {"repeats": 1},
    "invariance": {"trials": 1},
    "finite_difference": {"components": 3},
}


def shipped_card(name: str) -> dict[str, Any]:
    """A shipped scorecard without the gate that a model of a dozen steps fails: it says nothing yet."""
    card: dict[str, Any] = YAML(typ="safe").load((REPOSITORY / "scorecards" / f"{name}.yaml").read_text())
    card["gates"] = [gate for gate in card["gates"] if gate["metric"] not in SPREAD]
    return card


def write_campaign(directory: Path, **changes: Any) -> Path:
    """A campaign file and its scorecard in `directory`; `changes` replace top-level keys."""
    card = shipped_card("cu_emt")
    for name, quick in QUICK_SETTINGS.items():
        card["settings"][name] = card["settings"].get(name, {}) | quick
    card.pop("profiles")
    (directory / "scorecard.yaml").write_text(dump_yaml(card))
    spec: dict[str, Any] = {
        "name": "tiny",
        "dataset": {
            "name": "cu_emt",
            # two runs of a test are compared; tests/controller/test_prepare.py has the salt that a run draws
            "options": {"train": 16, "valid": 4, "test": 6, "test_large": 2, "sealed": 4, "salt": 7},
        },
        "recipe": "mace",
        "scorecard": "scorecard.yaml",
        "pilot": {"kind": "scripted"},
        "seeds": [1, 2],
        "budget": {"iterations": 2, "optimizer_steps": 12},
        "jobs": {"max_in_flight": 2, "train_wall_limit_s": 300, "evaluate_wall_limit_s": 300},
    }
    path = directory / "tiny.yaml"
    path.write_text(dump_yaml(spec | changes))
    return path


def mlipilot(
    *arguments: str | Path, cwd: Path, check: int | None = 0, **environment: str
) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own; its exit status must be `check`."""
    done = subprocess.run(
        command(arguments),
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    if check is not None:
        assert done.returncode == check, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done


def command(arguments: Sequence[str | Path]) -> list[str]:
    """The argument vector of `mlipilot ARGUMENTS`."""
    return [sys.executable, "-m", "mlipilot", *map(str, arguments)]


@pytest.fixture(scope="session")
def undisturbed(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    """A tiny campaign, run to its end without any fault."""
    directory = tmp_path_factory.mktemp("undisturbed")
    with_data(tiny_data, directory)
    campaign = write_campaign(directory)
    mlipilot("run", campaign, cwd=directory)
    return RunPaths(directory / "runs" / "tiny")


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set of `write_campaign`, built once for all workers; see `with_data`."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "tiny"
    run = RunPaths(shared / "run")
    with FileLock(f"{shared}.lock"):
        if not is_finished(run.data) or not (run.data / "reference.json").exists():
            shared.mkdir(exist_ok=True)
            campaign = load_campaign(write_campaign(shared))
            create_run(campaign, run)
            build_data(run, campaign.spec, Silent())
    return run.data


def with_data(data: Path, directory: Path) -> None:
    """Put the data set where a run of `write_campaign` below `directory` would build the same again."""
    shutil.copytree(data, directory / "runs" / "tiny" / "data")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnCluster]:
    """A Slurm for all tests that harm theirs; they share the xdist group `own_cluster`."""
    with own_cluster(tmp_path_factory.mktemp("slurm")) as found:
        yield found


@pytest.fixture(scope="session")
def accounting_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnCluster]:
    """The same with accounts, which a cluster that all tests share need not have; of the group `accounts`."""
    with own_cluster(tmp_path_factory.mktemp("accounts"), "--accounting") as found:
        yield found
