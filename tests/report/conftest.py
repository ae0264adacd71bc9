from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mlipilot.paths import RunPaths
from mlipilot.report.figures import Picture
from mlipilot.report.lineage_reading import load_lineage
from mlipilot.report.ranking import RunView, load_run
from mlipilot.report.view import LineageView
from tests.report.scenarios import confirmed_run, finished_run, hostile_run, three_lineages
from tests.report.synthetic import SyntheticRun


def view_of(run: RunPaths) -> LineageView:
    return load_lineage(run, run.lineage(0))


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> SyntheticRun:
    """A finished run. Not to be changed: see `run`."""
    return finished_run(tmp_path_factory.mktemp("synthetic") / "cu_emt")


@pytest.fixture(scope="session")
def view(pristine: SyntheticRun) -> LineageView:
    return view_of(pristine.run)


@pytest.fixture(scope="session")
def confirmed(tmp_path_factory: pytest.TempPathFactory) -> LineageView:
    """A run that fresh seeds have confirmed, but for its second step."""
    return view_of(confirmed_run(tmp_path_factory.mktemp("confirmed") / "cu_emt").run)


@pytest.fixture
def run(pristine: SyntheticRun, tmp_path: Path) -> RunPaths:
    """A copy of the finished run that a test may spoil."""
    return RunPaths(Path(shutil.copytree(pristine.run.root, tmp_path / "cu_emt")))


@pytest.fixture(scope="session")
def pristine_lineages(tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    """A run of three lineages. Not to be changed: see `several`."""
    return three_lineages(tmp_path_factory.mktemp("lineages") / "cu_emt")[0].run


@pytest.fixture(scope="session")
def compared(pristine_lineages: RunPaths) -> RunView:
    return load_run(pristine_lineages)


@pytest.fixture
def several(pristine_lineages: RunPaths, tmp_path: Path) -> RunPaths:
    """A copy of the run of three lineages that a test may spoil."""
    return RunPaths(Path(shutil.copytree(pristine_lineages.root, tmp_path / "several")))


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> LineageView:
    """A run whose pilot and whose training write whatever might break a page or a terminal."""
    return view_of(hostile_run(tmp_path_factory.mktemp("hostile") / "cu_emt").run)


@pytest.fixture
def quick_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for the figures, where a test is about the files around them."""
    names = ("progress", "gates", "parity", "training", "dynamics")
    stand_ins = [
        Picture(name, name, "A caption.", b"light", b"dark") for name in (*names, "lineages", "verdicts")
    ]
    monkeypatch.setattr("mlipilot.report.write.draw_all", lambda _view: stand_ins[:-2])
    monkeypatch.setattr("mlipilot.report.write.draw_run", lambda _run: stand_ins[-2:])
