"""What is meant by a misspelt word, and that one place decides it."""

from __future__ import annotations

from pathlib import Path

import pytest

import mlipilot
from mlipilot.nearness import did_you_mean, near

PACKAGE = Path(mlipilot.__file__).parent
METRICS = ["force_mae_mev_per_a", "energy_mae_mev_per_atom", "stress_mae_gpa"]


def test_the_likest_word_comes_first_and_no_more_than_asked_for() -> None:
    assert near("forces_mae_mev_per_a", METRICS) == ["force_mae_mev_per_a"]
    assert near("mae_mev_per_atom", METRICS, most=3)[0] == "energy_mae_mev_per_atom"
    assert len(near("mae_mev_per_atom", METRICS, most=2)) == 2
    assert near("zzz", METRICS, most=3) == []


def test_a_word_without_end_is_compared_in_a_moment() -> None:
    assert near("force" + "x" * 10**6, ["force", "x" * 300]) == ["x" * 300]


@pytest.mark.parametrize(
    ("word", "otherwise", "said"),
    [
        ("fores", "the keys are", "did you mean 'forces'?"),
        ("zzz", "the keys are", "the keys are: forces, stress"),
        ("zzz", "", ""),
    ],
)
def test_where_nothing_is_like_it_all_are_named(word: str, otherwise: str, said: str) -> None:
    assert did_you_mean(word, (key for key in ("forces", "stress")), otherwise) == said


def test_several_may_have_been_meant() -> None:
    keys = ("loss.forces", "loss.force", "ema.decay")
    assert did_you_mean("loss.forcs", keys, most=3) == "did you mean 'loss.forces' or 'loss.force'?"
    assert did_you_mean("loss.forcs", keys) == "did you mean 'loss.forces'?"


def test_one_place_decides_what_was_meant() -> None:
    """But for the recipes, which are candidates' own, and for what compares texts line by line."""
    measures = ("get_close_matches", "SequenceMatcher")
    places = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if any(name in path.read_text() for name in measures) and "recipes" not in path.parts
    }
    assert places == {"nearness.py", "controller/undoing.py"}
