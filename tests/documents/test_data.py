"""The commands of docs/data-import.md and docs/data-qm7.md, typed as they stand there."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from mlipilot.audit.files import sha256_file
from tests.datasets.qm7_b3lyp.test_qm7_file import stand_in
from tests.documents.blocks import block
from tests.documents.conftest import interrupt, label_structures
from tests.documents.user import Shell, User
from tests.end_to_end.cluster import needs_slurm

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("installed")]


def test_own_structures(user: User, installed: Path) -> None:
    commands = block("docs/data-import.md", "mlipilot data import")
    label_structures(user, installed / "set1.xyz", installed / "set2.xyz")
    with Shell(user, installed) as shell:
        shell.type("source .venv/bin/activate")
        assert "data/water" in shell.type(commands.take("mlipilot data import set1.xyz set2.xyz"))
        written = shell.type(commands.take("mlipilot init water --data data/water"))
        for file in ("campaigns/water.yaml", "campaigns/water.sbatch", "scorecards/water.yaml"):
            assert file in written and (installed / file).exists()
        assert "water" in shell.type(commands.take("mlipilot plan campaigns/water.yaml"))
        shell.begin("mlipilot run campaigns/water.yaml")  # as the comment of that line goes on
        shell.wait_for("0000/seed-", 120)
        interrupt(shell, "runs/water")
    commands.end()


@pytest.fixture
def told(user: User, installed: Path) -> str:
    """A stand-in for QM7's file, of its shape: 7165 times water; the option that says that it is meant.

    No label is left of an earlier test.
    """
    for left in installed.glob("data/qm7*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    file = stand_in(installed / "qm7.mat")
    user.own(file)
    return f" --set qm7_sha256={sha256_file(file)}"


def test_molecules_on_this_machine(user: User, installed: Path, told: str) -> None:
    commands = block("docs/data-qm7.md", "mlipilot data build qm7_b3lyp  ")
    with Shell(user, installed) as shell:
        shell.type("source .venv/bin/activate")
        assert "data/qm7_b3lyp" in shell.type(commands.take("mlipilot data build qm7_b3lyp"))
        shell.type(commands.take("pip install 'mlipilot[qm]'"), seconds=900)
        plan = commands.take("mlipilot data plan qm7_b3lyp --qm7 qm7.mat").partition("#")[0]
        assert "core-hours" in shell.type(plan + told)
        build = commands.take("mlipilot data build qm7_b3lyp --qm7 qm7.mat --output data/qm7")
        shell.begin(build.partition("#")[0] + told)
        _wait_for_a_label(shell, installed)
        shell.interrupt()
        shell.end(status=130)
    commands.end()


@needs_slurm
def test_molecules_on_a_cluster(user: User, installed: Path, told: str) -> None:
    commands = block("docs/data-qm7.md", "mlipilot data build qm7_b3lyp --qm7")
    with Shell(user, installed) as shell:
        shell.type("source .venv/bin/activate")
        shell.type("python -c 'import pyscf, tblite' || pip install 'mlipilot[qm]'", seconds=900)
        build = "mlipilot data build qm7_b3lyp --qm7 qm7.mat --output data/qm7 --set shards=200"
        shell.type(commands.take(f"{build} --lay-out") + told)
        job = shell.type(commands.take("sbatch --array=0-199%50 sbatch/label.sbatch data/qm7.labels"))
        try:
            _wait_for_a_label(shell, installed)
            assert "core-hours" in shell.type(commands.take("mlipilot data status data/qm7.labels"))
        finally:
            shell.type(f"scancel {job.split()[-1]}")
        shell.begin(commands.take(build).partition("#")[0] + told)
        time.sleep(5)  # it goes on with what the jobs have left: hours of it
        shell.interrupt()
        shell.end(status=130)
    commands.end()


def _wait_for_a_label(shell: Shell, clone: Path) -> None:
    deadline = time.monotonic() + 300
    while not list(clone.glob("data/qm7.labels/**/qm7_*.json*")):
        assert time.monotonic() < deadline, shell.text
        time.sleep(1)
