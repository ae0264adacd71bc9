"""Taking a step out of a recipe: what is left, and where that cannot be said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlipilot.audit.files import tree_digest
from mlipilot.controller.undoing import digest_of, tree, undone


def _undone(before: str, after: str, now: str) -> str | None:
    names = ({"f": text.encode()} for text in (before, after, now))
    found = undone(*names)
    return None if found is None else found["f"].decode()


@pytest.mark.parametrize(
    ("before", "after", "now", "expected"),
    [
        ("a\nb\nc\n", "a\nB\nc\n", "a\nB\nc\n", "a\nb\nc\n"),  # nothing came later: as it was
        ("a\nb\nc\n", "A\nb\nc\n", "A\nb\nC\n", "a\nb\nC\n"),  # a later step changed another line
        ("a\nb\n", "A\nb\n", "A\nB\n", "a\nB\n"),  # the next one
        ("a\nb\nc\n", "a\nb\nx\nc\n", "a\nB\nx\nc\n", "a\nB\nc\n"),  # it put a line in
        ("a\nx\nb\nc\n", "a\nb\nc\n", "a\nb\nC\n", "a\nx\nb\nC\n"),  # it took one away
        ("x\na\n", "a\n", "a\ny\n", "x\na\ny\n"),  # at the beginning
        ("a\nx\n", "a\n", "y\na\n", "y\na\nx\n"),  # at the end
        ("a\n", "a\nx\n", "a\nx\n", "a\n"),
        ("a\nb\nc\n", "A\nb\nC\n", "A\nz\nb\nC\n", "a\nz\nb\nc\n"),  # in two places
        ("a\nb\n", "a\nB\n", "a\nBB\n", None),  # a later step changed the same line
        ("a\nb\n", "a\nB\nC\n", "a\nB\ny\nC\n", None),  # and put one between its two
        ("a\nx\nb\n", "a\nb\n", "a\nb2\n", None),  # where it took a line away, nothing is as it was
        ("a\nx\nb\n", "a\nb\n", "a2\nb\n", None),
        ("a\nx\nb\n", "a\nb\n", "a\ny\nb\n", None),  # another came to where it took one away
        ("a\nb\n", "a\nB\n", "", None),
    ],
)
def test_a_step_is_taken_out_or_it_is_said_that_it_cannot_be(
    before: str, after: str, now: str, expected: str | None
) -> None:
    assert _undone(before, after, now) == expected


def test_files_that_came_or_went_are_taken_as_a_whole() -> None:
    before, after = {"old": b"1", "same": b"s"}, {"new": b"2", "same": b"s"}
    assert undone(before, after, {**after, "later": b"3"}) == {"old": b"1", "same": b"s", "later": b"3"}
    assert undone(before, after, {"new": b"changed", "same": b"s"}) is None
    assert undone(before, after, {"same": b"s"}) is None, "a later step removed the file that it brought"
    assert undone(before, after, {**after, "old": b"another"}) is None
    assert undone(before, after, {"new": b"2"}) == {"old": b"1"}, "what the step left alone may be gone"
    assert undone({"f": b"1"}, {"f": b"2"}, {}) is None, "a later step removed what this one changed"
    assert undone({"f": b"1"}, {}, {"g": b"2"}) == {"f": b"1", "g": b"2"}
    for one, two in ((b"\xff\n", b"\xfe\n"), (b"\0\n", b"\1\n")):
        assert undone({"f": one}, {"f": two}, {"f": two + b"y\n"}) is None, "it is no text"
        assert undone({"f": one}, {"f": two}, {"f": two}) == {"f": one}


def test_lines_of_which_there_are_many_are_lines_as_well() -> None:
    many = "pass\n" * 150
    assert _undone(many + many, many + "x\n" + many, many + "x\n" + many + "y\n") == many + many + "y\n"
    half = "pass\n" * 75
    now = half + "y\n" + half + "x\n" + many
    assert _undone(many + many, many + "x\n" + many, now) == half + "y\n" + half + many


_LINES = st.lists(st.sampled_from("abcde"), max_size=8).map(lambda lines: "".join(f"{x}\n" for x in lines))


@given(_LINES, _LINES)
def test_a_step_that_nothing_followed_leaves_what_was_before(before: str, after: str) -> None:
    assert _undone(before, after, after) == before


@given(_LINES, _LINES, _LINES)
def test_a_step_that_changed_nothing_leaves_what_is(before: str, now: str, _other: str) -> None:
    assert _undone(before, before, now) == now


def test_what_is_no_regular_file_is_no_part_of_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("x")
    for name, make in (("link", lambda path: path.symlink_to(tmp_path / "there")), ("pipe", os.mkfifo)):
        make(tmp_path / name)
        with pytest.raises(OSError, match=rf"/{name}: not a regular file$"):
            tree(tmp_path)
        (tmp_path / name).unlink()
    assert tree(tmp_path) == {"there": b"x"}


def test_what_is_no_text_in_any_of_the_three_is_not_merged() -> None:
    for place in range(3):
        texts = [b"a\nb\n", b"A\nb\n", b"A\nB\n"]
        texts[place] = texts[place].replace(b"\n", b"\xff\n", 1)
        assert undone(*({"f": text} for text in texts)) is None


def test_the_digest_is_that_of_the_files_in_a_directory(tmp_path: Path) -> None:
    files = {"b/two": b"2", "a.txt": b"1", "b.txt": b""}
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    assert tree(tmp_path) == files
    assert digest_of(files) == tree_digest(tmp_path)
    assert digest_of({}) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
