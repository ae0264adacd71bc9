"""An ordinary user, fresh clones, and one clone in which the quickstart has been run."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ruamel.yaml import YAML

from mlipilot.campaign.spec import dump_yaml
from tests.documents.blocks import block
from tests.documents.user import Shell, User, type_the_clone
from tests.end_to_end.conftest import QUICK_SETTINGS


@pytest.fixture(scope="session")
def user() -> User:
    """Whom MLIPILOT_TEST_USER names, or whoever runs the tests; never root, whom so much is granted."""
    name = os.environ.get("MLIPILOT_TEST_USER") or pwd.getpwuid(os.geteuid()).pw_name
    if pwd.getpwnam(name).pw_uid == 0:
        pytest.skip("root is no ordinary user: MLIPILOT_TEST_USER names none")
    return User(name)


@pytest.fixture(scope="session")
def desk(user: User) -> Iterator[Path]:
    """A folder of the user's, with what can be cloned in it; nothing outside of it is touched."""
    folder = user.desk()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def installed(user: User, desk: Path) -> Path:
    """A clone in which the README's first command has been typed, with a short campaign in it."""
    with Shell(user, desk) as shell:
        clone(shell, desk, "installed")
        shorten(user, desk / "installed")
        said = shell.type(
            block("README.md", "bash ci/quickstart.sh").take("bash ci/quickstart.sh"), seconds=1500
        )
    assert "every verdict recomputed" in said and "report.html" in said
    return desk / "installed"


def clone(shell: Shell, desk: Path, folder: str) -> None:
    """Make a clone of the desk's repository as the README has it, and stand in it."""
    type_the_clone(shell, block("README.md", "git clone").take("git clone"), desk, folder)


def interrupt(shell: Shell, run: str) -> None:
    """Ctrl-C in a campaign, and the end of the jobs that would go on by themselves."""
    shell.interrupt()
    assert "interrupted" in shell.end(status=130)
    assert "cancelled" in shell.type(f".venv/bin/mlipilot cancel {run}")


def shorten(user: User, clone: Path) -> None:
    """Make the copper campaign of a clone one of seconds; `test_whole.py` leaves it as it is."""
    yaml = YAML(typ="safe")
    campaign, card = clone / "campaigns" / "cu_emt.yaml", clone / "scorecards" / "cu_emt.yaml"
    spec, gates = yaml.load(campaign), yaml.load(card)
    spec["dataset"]["options"] = {"train": 16, "valid": 4, "test": 6, "test_large": 2, "sealed": 4}
    spec |= {"seeds": [31], "budget": {"iterations": 2, "optimizer_steps": 8}, "profiles": {"smoke": {}}}
    spec |= {"confirm": None}
    for name, quick in QUICK_SETTINGS.items():
        gates["settings"][name] = gates["settings"].get(name, {}) | quick
    del gates["profiles"]
    campaign.write_text(dump_yaml(spec))
    card.write_text(dump_yaml(gates))
    user.own(campaign, card)


def label_structures(user: User, *files: Path) -> None:
    """Files of structures as users have them: copper by EMT, with ASE's names, by a few trajectories."""
    rng = np.random.default_rng(7)
    for number, file in enumerate(files):
        frames = []
        for trajectory in range(6):
            atoms = bulk("Cu", cubic=True) * (2, 2, 2)
            atoms.info["trajectory"] = f"{number}-{trajectory}"
            for _ in range(4):
                atoms.positions += rng.normal(0.0, 0.04, atoms.positions.shape)
                atoms.calc = EMT()
                atoms.get_potential_energy()
                frames.append(atoms.copy())
                results = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
                frames[-1].calc = SinglePointCalculator(frames[-1], **results)
        write(file, frames)
        user.own(file)
