"""The ladder: an edit hits the one place it means, or it is refused with help; never another place."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mlipilot.pilots.edit_matching import RefusedError, check_syntax, replace_once

YAML = "loss:\n  energy: 1.0   # weight\n  forces: 10\nema:\n  decay: 0.99\n"
PYTHON = "def f(x):\n    if x:\n        y = 1\n        z = 2\n    return x\n"


@pytest.mark.parametrize(
    ("text", "search", "replace", "wanted"),
    [
        # exact
        (YAML, "  forces: 10\n", "  forces: 20\n", YAML.replace("10", "20")),
        (YAML, "forces: 10", "forces: 20", YAML.replace("10", "20")),
        (YAML, "  forces: 10\n", "  forces: 20", YAML.replace("10", "20")),
        (YAML, "  forces: 10\n", "", YAML.replace("  forces: 10\n", "")),
        ("a: 1\na: 10\n", "a: 1", "a: 2", "a: 2\na: 10\n"),
        # blanks inside and after lines
        (YAML, "  energy:  1.0 # weight", "  energy: 2.0", YAML.replace("1.0   # weight", "2.0")),
        (YAML, "  forces: 10   \nema:  ", "  forces: 5\nema:", YAML.replace("10", "5")),
        ("a: 1\r\nb: 2\r\n", "a: 1\nb: 2\n", "a: 3\nb: 4\n", "a: 3\r\nb: 4\r\n"),
        # a uniform shift of indent, blank lines around
        (PYTHON, "y = 1\nz = 2", "y = 3\nif y:\n    z = 4", PYTHON.replace("y = 1", "y = 3").replace(
            "        z = 2", "        if y:\n            z = 4")),
        (PYTHON, "\n            y = 1\n            z = 2\n\n", "            y = 5\n", PYTHON.replace(
            "y = 1\n        z = 2", "y = 5")),
        (PYTHON, "if x:\n    y = 1\n", "if x:\n\n    y = 7\n", PYTHON.replace(
            "if x:\n        y = 1", "if x:\n\n        y = 7")),
        ("if 1:\n\tx = 1\n\ty = 2\n", "    x = 1\n    y = 2", "    x = 3", "if 1:\n\tx = 3\n"),
        # the last line has no line break
        ("a: 1\nb: 2", "b:  2", "b: 3", "a: 1\nb: 3"),
    ],
)  # fmt: skip
def test_an_edit_that_is_clear_is_made(text: str, search: str, replace: str, wanted: str) -> None:
    assert replace_once(text, search, replace) == wanted


@pytest.mark.parametrize(
    ("text", "search", "replace", "says"),
    [
        ("x: 1\ny: 2\nx: 1\n", "x: 1", "x: 5", "2 places (lines 1, 3)"),
        ("aaa", "aa", "b", "part of a longer word"),
        ("-- -- --", "-- --", "+", "2 places"),
        ("  a:  1\nb: 2\n  a:   1\n", "  a: 1", "  a: 3", "2 places"),
        ("if x:\n    y = 1\nif z:\n        y = 1\n        w = 2\n", "  y  = 1", "  y = 2", "2 places"),
        ("f: 10\n", "f: 1", "f: 100", "part of a longer word or number in line 1: 'f: 10'"),
        ("lr: 0.015\n", "lr: 0", "lr: 1", "longer word or number"),
        ("lr: 0.015\n", "lr: 0.", "lr: 1.", "longer word or number"),
        ("lr: 1e-3\n", "lr: 1", "lr: 2", "longer word or number"),
        ("learning_rate: 1\n", "rate: 1", "rate: 2", "longer word or number"),
        (YAML, "energy: 1.0   # weight", "energy: 2.0\nforces: 3", "with their indent"),
        (YAML, "", "x", "search is empty"),
        (YAML, " \n ", "x", "search is empty"),
        (YAML, "  forces: 10", "  forces: 10", "changes nothing"),
        (YAML, "  forces:  10", "  forces: 10", "changes nothing"),
        (YAML, "  forces: 11", "  forces: 12", "line 3:   forces: 10\nline 4: ema:"),
        (YAML, "zzz qqq", "x", "Read the file again"),
        (PYTHON, "y = 1\n  z = 2", "y = 3", "not found"),
        (PYTHON, "    if x:\n            y = 1", "x", "not found"),
        (PYTHON, "                y = 1\n                z = 2", "y = 5\nz = 2", "indented less"),
    ],
)
def test_an_edit_that_is_not_clear_is_refused_with_help(
    text: str, search: str, replace: str, says: str
) -> None:
    with pytest.raises(RefusedError) as refusal:
        replace_once(text, search, replace)
    assert says in str(refusal.value)


_LINES = st.lists(st.text("ab :1", max_size=6), min_size=1, max_size=8)


@given(_LINES, st.integers(0, 7), st.integers(1, 3), st.text("xyz\n ", max_size=8))
def test_an_edit_only_touches_the_lines_that_it_names(
    lines: list[str], at: int, count: int, new: str
) -> None:
    text = "\n".join(lines)
    search = "\n".join(lines[at : at + count])
    assume(search.strip())
    try:
        edited = replace_once(text, search, new)
    except RefusedError:
        return
    before = "\n".join(lines[:at])
    after = "\n".join(lines[at + count :])
    assert edited.startswith(before)
    assert edited.endswith(after)


@given(_LINES, st.text("ab :1\n", max_size=10), st.text("xy", min_size=1, max_size=3))
def test_a_search_that_stands_twice_is_never_carried_out(lines: list[str], search: str, new: str) -> None:
    assume(search.strip())
    text = "\n".join([search, *lines, search])
    with pytest.raises(RefusedError):
        replace_once(text, search, new)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("train.py", "def f(:\n", "train.py, line 1 would not be Python"),
        ("train.py", "x = '\x00'", "would not be Python"),
        ("train.py", "(" * 3000, "would not be Python"),
        ("recipe.yaml", "a: 1\nb: [1, 2\n", "would not be YAML"),
        ("recipe.yaml", "a: 1\na: 2\n", "would not be YAML"),
        ("recipe.yaml", "when: 2001-99-99\n", "would not be YAML"),
        ("recipe.yaml", "a: !!bool zz\n", "would not be YAML"),
        ("recipe.yaml", "a: !!int ''\n", "would not be YAML"),
        ("recipe.yaml", "a: !!float ''\n", "would not be YAML"),
        ("recipe.yml", "a: !!python/object:os.system x\n", "would not be YAML"),
        ("recipe.yaml", "a: &a 1\nb: *a\n", "recipe.yaml, line 2: write the value out"),
        ("recipe.yaml", "[" * 60_000, "nested more than 20 deep"),
        ("recipe.yaml", "- " * 30_000, "nested more than 20 deep"),
        ("recipe.yaml", "? " * 30_000, "nested more than 20 deep"),
    ],
)
def test_a_file_that_nothing_could_read_is_refused(name: str, text: str, says: str) -> None:
    with pytest.raises(RefusedError) as refusal:
        check_syntax(name, text)
    assert says in str(refusal.value)


def test_checking_python_does_not_run_it(tmp_path: object) -> None:
    check_syntax("train.py", "raise SystemExit(1)\nx = '\\d'\n")
    check_syntax("notes.md", "((((")


BLOCK = """\
def loss(pred, ref):
    energy = (pred.e - ref.e) ** 2
    forces = (pred.f - ref.f) ** 2
    return energy + forces
"""


def test_misquoted_lines_around_a_change_are_forgiven_where_the_changed_ones_are_there_once() -> None:
    search = "def the_loss(a, b):\n    energy = (pred.e - ref.e) ** 2\n    forces = 0\n"
    edited = replace_once(BLOCK, search, search.replace("** 2", "** 4"))
    assert edited == BLOCK.replace("ref.e) ** 2", "ref.e) ** 4")


@pytest.mark.parametrize(
    ("search", "replace"),
    [
        ("def f():\n    x = 1\n", "def f():\n    x = 2\n"),  # the changed line is not there
        ("def f():\n    a\n", "def f():\n    b\n    a\n"),  # nothing is changed that could be found
        ("wrong\n    return x\n", "right\n    return y\n"),  # all is changed
    ],
)
def test_a_change_that_is_nowhere_is_refused(search: str, replace: str) -> None:
    with pytest.raises(RefusedError, match="not found"):
        replace_once(BLOCK, search, replace)


def test_a_change_that_fits_twice_is_refused_with_its_misquoted_surroundings() -> None:
    with pytest.raises(RefusedError, match="not found"):
        replace_once("a = 1\nb\na = 1\n", "head\na = 1\n", "head\na = 2\n")


def test_many_places_inside_words_hide_no_second_whole_word() -> None:
    text = "# a note\n" + "x = banana_banana\n" * 60 + "# a second\n"
    with pytest.raises(RefusedError, match="search fits 2 places"):
        replace_once(text, "a", "b")


def test_the_lines_around_the_likeliest_place_are_shown() -> None:
    with pytest.raises(RefusedError, match=r"line 2: .*energy.*\nline 3: .*forces.*\nline 4: "):
        replace_once(BLOCK, "    forces = (pred.f - rex.f) ** 3", "x")
