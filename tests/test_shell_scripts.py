"""Every shell script of the repository, tests' stand-ins included, as shellcheck and bash see it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
SHELLCHECK = Path(sys.executable).with_name("shellcheck")


def scripts() -> list[str]:
    """All tracked files of bash, by suffix or by their first line."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=REPOSITORY, stdout=subprocess.PIPE, check=True
    )
    names = [name for name in listed.stdout.decode().splitlines() if (REPOSITORY / name).is_file()]
    return [name for name in names if name.endswith((".sh", ".sbatch")) or _is_bash(REPOSITORY / name)]


def _is_bash(file: Path) -> bool:
    with file.open("rb") as opened:
        return re.match(rb"#!.*\bbash\b", opened.readline()) is not None


@pytest.mark.parametrize("script", scripts())
def test_shellcheck_finds_nothing(script: str) -> None:
    checked = subprocess.run(
        [SHELLCHECK, "--external-sources", script], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("script", [name for name in scripts() if not name.startswith("tests/")])
def test_a_variable_that_nobody_set_ends_a_script(script: str) -> None:
    """`set -u`: its own, or of what it sources, is sourced by, or hands over to at once."""
    text = (REPOSITORY / script).read_text(encoding="utf-8")
    if re.search(r"^set -[a-z]*u", text, re.MULTILINE) or re.search(
        r"^source .*/environment", text, re.MULTILINE
    ):
        return
    others = [(REPOSITORY / other).read_text() for other in scripts()]
    is_sourced = any(re.search(rf"^source .*/{Path(script).name}", other, re.MULTILINE) for other in others)
    hands_over = re.search(r"^exec bash .*(job|endpoint|campaign|test)\.sh", text, re.MULTILINE)
    assert is_sourced or hands_over


@pytest.mark.parametrize("script", scripts())
def test_bash_can_read_it(script: str) -> None:
    read = subprocess.run(["bash", "-n", script], cwd=REPOSITORY, capture_output=True, text=True)
    assert (read.returncode, read.stderr) == (0, "")
