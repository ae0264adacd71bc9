"""Setting one value by its path: faults are told with the mend, and nothing else changes."""

from __future__ import annotations

from typing import Any

import pytest

from mlipilot.pilots.edit_matching import RefusedError
from mlipilot.pilots.values import with_value

TEXT = """\
loss:
  kind: mse            # mse or huber
  forces: 100.0        # weight
  per_atom: true
  weights: {compressed: 1.0}
  stage_two:
    forces: 1.0
radial: [64]
layers: 2
free:
"""


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("loss.forces", 10, "  forces: 10           # weight\n"),
        ("loss.forces", "1e-3", "  forces: 0.001        # weight\n"),
        ("loss.kind", "huber", "  kind: huber          # mse or huber\n"),
        ("loss.per_atom", "false", "  per_atom: false\n"),
        ("loss.weights", '{"compressed": 0.1}', '  weights: {"compressed": 0.1}\n'),
        ("loss.stage_two.forces", 2.5, "    forces: 2.5\n"),
        ("radial", "[32, 32]", "radial: [32, 32]\n"),
        ("free", "anything", "free: anything\n"),
    ],
)
def test_a_value_is_set_and_the_rest_stays(key: str, value: Any, line: str) -> None:
    edited = with_value(TEXT, key, value).splitlines(keepends=True)
    changed = [new for new, old in zip(edited, TEXT.splitlines(keepends=True), strict=True) if new != old]
    assert changed == [line]


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("forces", 1.0, "did you mean 'loss.forces' or 'loss.stage_two.forces'?"),
        ("loss.forcs", 1.0, "did you mean 'loss.forces'"),
        ("quite.elsewhere", 1.0, "its keys are: loss.kind, loss.forces"),
        ("", 1.0, "has no key ''"),
        ("loss.forces", "heavy", "loss.forces is 100.0: its value must be a number"),
        ("loss.forces", True, "must be a number"),
        ("loss.forces", None, "must be a number"),
        ("loss.forces", "!!bool zz", "must be a number"),
        ("loss.forces", "!!int ''", "must be a number"),
        ("loss.forces", "2001-99-99", "must be a number"),
        ("loss.forces", float("nan"), "must be finite"),
        ("loss.forces", 10**400, "whole ones below 2**53"),
        ("loss.weights", {"a": float("inf")}, "must be finite"),
        ("radial", [1, [2**53]], "whole ones below 2**53"),
        ("radial", "[" * 2000, "must be a list"),
        ("loss.kind", 3, "must be a word"),
        ("loss.per_atom", 1, "must be true or false"),
        ("radial", 64, "must be a list"),
        ("loss.stage_two", {"forces": 1}, "stands on several lines: set one of loss.stage_two.forces"),
        ("loss.forces", 100, "loss.forces is 100.0 already; set another value, such as 50, or another key"),
        ("layers", 2, "layers is 2 already; set another value, such as 4, or another key"),
        ("loss.kind", "mse", 'loss.kind is "mse" already; set another value, or another key'),
        ("loss.weights", "&a [*a]", "must be a mapping"),
    ],
)
def test_a_fault_names_the_mend(key: str, value: Any, says: str) -> None:
    with pytest.raises(RefusedError) as refused:
        with_value(TEXT, key, value)
    assert says in str(refused.value)


def test_a_short_text_that_would_fill_the_memory_is_not_built() -> None:
    bomb = (
        "[" + "&a0 [1], " + ", ".join(f"&a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 30)) + "]"
    )
    with pytest.raises(RefusedError, match="must be a list"):
        with_value(TEXT, "radial", bomb)


def test_a_value_beyond_all_numbers_is_told_without_an_example() -> None:
    with pytest.raises(RefusedError, match="2\\*\\*53"):
        with_value(f"a: {10**400}\n", "a", 10**400)
