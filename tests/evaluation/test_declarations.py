"""Declarations of metrics that cannot be: whoever adds a file is told which one, what and how to mend it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

METRIC = """
from mlipilot.evaluation.declaration import CRYSTAL, Group, Metric, Section, Settings
from mlipilot.evaluation.metrics_file import Measurement


class Own(Settings):
    points: int = 3


GROUP = Group(
    name="dimer",
    place=999,
    metrics=(Metric("dimer_error_mev", "meV", "lower", "dimer error", CRYSTAL),),
    measure=lambda bench: Measurement(),
    sections=(Section("dimer", Own, CRYSTAL),),
    reference={"dimer_ev": lambda bench: 1.0},
)
"""
ACCURACY = "is declared by mlipilot.evaluation.metrics."


def _said(folder: Path, text: str) -> tuple[int, str]:
    """Status and words of the command line beside a metric's file with this text."""
    (folder / "zz_dimer.py").write_text(text)
    code = (
        "import sys; import mlipilot.evaluation.metrics as m; m.__path__.append(sys.argv.pop(1)); "
        "from mlipilot.cli import main; main()"
    )
    argv = [sys.executable, "-c", code, str(folder), "plan", "--help"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def test_a_metric_that_is_well_declared_is_no_fault(tmp_path: Path) -> None:
    assert _said(tmp_path, METRIC) == (0, "")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            '"dimer_error_mev"',
            '"c11_gpa"',
            f"the metric 'c11_gpa' {ACCURACY}elasticity",
        ),
        ('Section("dimer"', 'Section("elasticity"', f"the section 'elasticity' {ACCURACY}elasticity"),
        ('Section("dimer"', 'Section("crystal"', "the section 'crystal' is declared by the bench"),
        ('Section("dimer"', 'Section("errors"', "the section 'errors' is declared by the bench"),
        ('"dimer_ev"', '"rdf"', f"the reference value 'rdf' {ACCURACY}nvt"),
        ("place=999", "place=40", f"the place 40 {ACCURACY}lattice"),
        ('name="dimer"', 'name="lattice"', f"the group 'lattice' {ACCURACY}lattice"),
        (
            '"dimer error", CRYSTAL',
            '"", ("molecule",)',
            "dimer_error_mev: there is no system 'molecule'",
        ),
        ("points: int = 3", "points: int", "settings.dimer.points has no default"),
        ("class Own", "1 / 0\n\n\nclass Own", "cannot be imported: ZeroDivisionError"),
        ("class Own(", "class Own((", "cannot be imported: SyntaxError"),
        ("GROUP = Group(", "GROUPS = [Group][0](", None),
    ],
)
def test_what_cannot_be_is_told_with_its_file(old: str, new: str, said: str | None, tmp_path: Path) -> None:
    assert METRIC.count(old) == 1
    status, words = _said(tmp_path, METRIC.replace(old, new))
    if said is None:  # by whatever name
        assert (status, words) == (0, "")
    else:
        assert status == 2 and words.startswith("mlipilot: mlipilot.evaluation.metrics.zz_dimer: ")
        assert said in words and "Traceback" not in words
