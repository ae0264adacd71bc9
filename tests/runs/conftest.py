"""The runs that were kept, unpacked, and a toolkit that none of them knows."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlipilot.audit import protected
from mlipilot.paths import RunPaths
from tests.runs.kept import ARCHIVES, LATER, Kept, expectations, name_of


@pytest.fixture(params=ARCHIVES, ids=name_of)
def kept(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kept:
    """On a machine without Slurm, whose accounts would be asked of jobs that it never had."""
    archive: Path = request.param
    name = archive.name.partition(".")[0]
    shutil.unpack_archive(archive, tmp_path)
    (tmp_path / "no-programs").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "no-programs"))
    monkeypatch.setattr(sys, "argv", sys.argv)  # which `outcome` sets
    return Kept(RunPaths(tmp_path / name), expectations(archive))


@pytest.fixture
def later_toolkit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A toolkit with a file that no run here can know: what every version but a run's own is to it."""
    files = protected.package_files
    monkeypatch.setattr(protected, "package_files", lambda: files() | {LATER: Path(__file__)})


@pytest.fixture
def signals() -> Iterator[None]:
    """A verb that carries a run has a handler of its own for SIGTERM."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)
