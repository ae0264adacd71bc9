"""`mlipilot data import` and `mlipilot init` by the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read, write
from typer.testing import CliRunner

from mlipilot.audit.files import sha256_file
from mlipilot.campaign.spec import load_campaign
from mlipilot.cli.app import app
from mlipilot.errors import InputError


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    frames = []
    for _ in range(20):
        moved = rng.normal(scale=0.05, size=(2, 3))
        atoms = Atoms(
            "Ar2", positions=np.array([[0, 0, 0], [4, 0, 0]]) + moved, info={"e": float(np.sum(moved**2))}
        )
        atoms.arrays["f"] = -2 * moved
        frames.append(atoms)
    write(tmp_path / "mine.xyz", frames, format="extxyz")
    return Path("mine.xyz")


KEYS = ["--energy-key", "e", "--forces-key", "f"]


def test_from_a_file_to_a_campaign_that_can_be_run(file: Path) -> None:
    done = CliRunner().invoke(app, ["data", "import", str(file), "--name", "argon", *KEYS])
    assert done.exit_code == 0, done.output
    assert "split by stretches of 1 successive frames" in " ".join(done.output.split())
    assert "energies follow the forces: ΔE is 1.000 times" in done.output
    assert "WARNING: stretches of one frame are a split by frame" in done.output
    done = CliRunner().invoke(app, ["init", "argon", "--data", "data/argon"])
    assert done.exit_code == 0, done.output
    assert load_campaign(Path("campaigns/argon.yaml")).scorecard.name == "argon"
    assert "no campaigns/argon.sbatch: it is made after campaigns/cu_emt.sbatch" in done.output


def test_the_sbatch_file_that_is_written_is_not_said_to_lack(file: Path) -> None:
    CliRunner().invoke(app, ["data", "import", str(file), "--name", "argon", *KEYS])
    Path("campaigns").mkdir()
    Path("campaigns/cu_emt.sbatch").write_text("#!/bin/bash\n")
    done = CliRunner().invoke(app, ["init", "argon", "--data", "data/argon"])
    assert "campaigns/argon.sbatch" in done.output and "no campaigns" not in done.output


def test_units_that_nothing_vouches_for_are_warned_of(file: Path) -> None:
    frames = read(file, index=":")
    for index, atoms in enumerate(frames):
        atoms.positions *= 1 + index  # too far apart for pairs
    write(file, frames)
    done = CliRunner().invoke(app, ["data", "import", str(file), "--name", "argon", *KEYS])
    assert done.exit_code == 0, done.output
    assert "WARNING: units not verified: only" in done.output


def test_json_for_scripts(file: Path) -> None:
    done = CliRunner().invoke(app, ["data", "import", str(file), "--name", "argon", "--json", *KEYS])
    told = json.loads(done.output)
    assert told["manifest_sha256"] == sha256_file(Path("data/argon/manifest-sha256.txt"))
    assert sum(told["frames"].values()) == 20 and told["elements"] == ["Ar"]


@pytest.mark.parametrize(
    "arguments",
    [["data", "import", "mine.xyz", "--name", "../x", *KEYS], ["init", "Argon", "--data", "data/argon"]],
)
def test_a_name_that_is_none(file: Path, arguments: list[str]) -> None:
    assert file.exists()
    found = CliRunner().invoke(app, arguments).exception
    assert isinstance(found, InputError) and "make a name" in str(found)
    assert not Path("data").exists() and not Path("campaigns").exists()
