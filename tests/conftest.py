"""Programs of the machine, and what stands in for them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

StandIn = Callable[[str, str], None]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Put a bash script in the place of a program."""
    programs = tmp_path / "stand-ins"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")

    def write(name: str, script: str) -> None:
        path = programs / name
        path.write_text(f"#!/bin/bash\n# a stand-in for {name}\n{script}\n", encoding="utf-8")
        path.chmod(0o755)

    return write


@pytest.fixture
def no_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without Slurm, Apptainer and NVIDIA's tools."""
    (tmp_path / "no-programs").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "no-programs"))
