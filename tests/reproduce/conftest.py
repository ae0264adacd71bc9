from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mlipilot.audit.ledger import read_ledger
from mlipilot.controller.state import replay
from mlipilot.paths import RunPaths
from tests.report.synthetic import SyntheticRun

IMAGE = b"an image, as far as its digest goes"


@pytest.fixture(autouse=True)
def _no_image_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLIPILOT_IMAGE", "MLIPILOT_IMAGE_SHA256"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    """Three candidates, the last of which could not be trained. Not to be changed: see `run`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLIPILOT_IMAGE_SHA256", raising=False)
        made = SyntheticRun(tmp_path_factory.mktemp("reproduce") / "cu_emt")
    made.propose(0, None, {})
    made.candidate(0, 0.0)
    made.propose(1, None, {"learning_rate: 0.01": "learning_rate: 0.02"})
    made.candidate(1, 0.5)
    made.propose(2, None, {"learning_rate: 0.01": "learning_rate: 9.0"})
    made.train(2, made.spec.seeds[0], 0.0, failed="the loss is nan")
    made.judge(2)
    assert replay(read_ledger(made.lineage.ledger)).incumbent == 1
    return made.run


@pytest.fixture
def run(pristine: RunPaths, tmp_path: Path) -> RunPaths:
    """A copy that a test may spoil."""
    return RunPaths(Path(shutil.copytree(pristine.root, tmp_path / "cu_emt")))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A stand-in for a SIF: a file with a digest."""
    path = tmp_path / "stand-in.sif"
    path.write_bytes(IMAGE)
    return path
