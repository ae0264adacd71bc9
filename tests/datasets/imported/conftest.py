from __future__ import annotations

from pathlib import Path

import pytest
from ase import Atoms

from .made import structures, written


@pytest.fixture(scope="module")
def labelled() -> list[Atoms]:
    return structures()


@pytest.fixture
def file(labelled: list[Atoms], tmp_path: Path) -> Path:
    return written(tmp_path / "set.xyz", labelled)
