"""What is asked for help helps, and does nothing else; nor does what is told a word that it does not know."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path for path in (ROOT / "ci").glob("*.py") if "__main__" in path.read_text())
WRITTEN = (ROOT / "docs", ROOT / "mlipilot" / "datasets" / "qm7_b3lyp" / "labels")


def _times() -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for folder in WRITTEN for path in folder.iterdir()}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
@pytest.mark.parametrize(("word", "status"), [("--help", 0), ("--no-such-word", 2)])
def test_a_script_helps_and_does_nothing_else(script: Path, word: str, status: int, tmp_path: Path) -> None:
    before = _times()
    argv = [sys.executable, str(script), word]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, "usage: " in done.stdout + done.stderr) == (status, True), done.stderr
    assert _times() == before and list(tmp_path.iterdir()) == []
