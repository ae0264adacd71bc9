"""What a reviewer reads first is code, never a filler; what it cannot be shown is counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlipilot.controller.candidates import recipe_diff
from mlipilot.pilots.history_told import Room
from mlipilot.pilots.roles.reading_order import in_reading_order
from mlipilot.pilots.roles.reviewer import review
from tests.pilots.roles.conftest import Speaker, calling
from tests.pilots.roles.test_reviewer import _draft

CODE = "".join(f"line_{n} = {n}\n" for n in range(60))
FILLER = "".join(f"# remark {n}\n" for n in range(200))


def _diff(tmp_path: Path, before: dict[str, str], after: dict[str, str]) -> str:
    for folder, files in ("before", before), ("after", after):
        for name, text in files.items():
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return recipe_diff(tmp_path / "before", tmp_path / "after")


def _order(text: str, *words: str) -> list[int]:
    return [text.index(word) for word in words]


def test_code_comes_before_values_and_these_before_documents(tmp_path: Path) -> None:
    before = {"A.md": "old\n", "recipe.yaml": "rate: 1\n", "train.py": CODE, "aaa.cfg": "x\n"}
    after = {"A.md": "new\n", "recipe.yaml": "rate: 2\n", "train.py": CODE + "cheat()\n", "aaa.cfg": "y\n"}
    text, lacking = in_reading_order(_diff(tmp_path, before, after), 10_000)
    places = _order(text, "+cheat()", "+rate: 2", "+y", "+new")
    assert places == sorted(places) and lacking == 0
    for head in ("--- a/train.py\n+++ b/train.py\n@@ -58,3 +58,4 @@", "--- a/A.md\n+++ b/A.md\n@@ -1 +1 @@"):
        assert head in text


def test_a_line_among_fillers_is_read_first(tmp_path: Path) -> None:
    after = CODE.replace("line_5 =", "# a remark\nline_5 =") + FILLER + "cheat()\n" + FILLER
    diff = _diff(tmp_path, {"train.py": CODE}, {"train.py": after, "0.py": FILLER})
    text, lacking = in_reading_order(diff, 100_000)
    places = _order(
        text, "+cheat()", "+# a remark", "(200 lines of comments and blanks: at the end)", "+# remark 0"
    )
    assert places[0] < places[1] and places[2] < places[0] < places[3] and lacking == 0
    assert text.count("+# remark 7\n") == 3
    short, lacking = in_reading_order(diff, 1500)
    assert "+cheat()" in short and len(short) < 1600 and lacking == 0
    assert "more lines do not fit, 0 of them changed code or values)" in short


def test_changed_code_that_does_not_fit_is_counted(tmp_path: Path) -> None:
    new = "".join(f"other_{n} = {n}\n" for n in range(100))
    diff = _diff(tmp_path, {"train.py": ""}, {"train.py": new})
    text, lacking = in_reading_order(diff, 600)
    assert len(text) < 700 and text.count("+other_") + lacking == 100 and lacking > 0
    assert f"{lacking} of them changed code or values" in text
    assert in_reading_order(diff, 10_000)[1] == 0


def test_what_did_not_change_goes_first_when_it_does_not_fit(tmp_path: Path) -> None:
    diff = _diff(tmp_path, {"train.py": CODE}, {"train.py": CODE.replace("line_30 = 30", "cheat()")})
    assert " line_29 = 29" in in_reading_order(diff, 1000)[0]
    text, lacking = in_reading_order(diff, 100)
    assert "+cheat()" in text and " line_29" not in text and lacking == 0


def test_a_line_that_looks_like_a_head_is_a_line(tmp_path: Path) -> None:
    before, after = "-- a/README.md\nx\n", "++ b/README.md\n@@ -1,9 +1,9 @@\n"
    diff = _diff(tmp_path, {"train.py": before}, {"train.py": after, "b.md": "x\n"})
    text, _ = in_reading_order(diff, 10_000)
    assert _order(text, "--- a/README.md\n", "+++ b/README.md\n", "+@@ -1,9", "+++ b/b.md") == sorted(
        _order(text, "--- a/README.md\n", "+++ b/README.md\n", "+@@ -1,9", "+++ b/b.md")
    )
    assert text.startswith("--- a/train.py\n")


@pytest.mark.parametrize("answer", [calling("approve", reason="fine"), calling("nothing")])
def test_what_a_reviewer_could_not_see_it_cannot_approve(answer: dict[str, object]) -> None:
    diff = "".join(f"+step({n})\n" for n in range(3000))
    found = review(Speaker(answer), _draft(diff=diff, room=Room(4096, reply_tokens=512)), lambda _: None)
    assert not found.approved
    assert "changed lines do not fit into what a reviewer can read: change less" in found.text
    assert review(
        Speaker(calling("approve", reason="fine")), _draft(diff=diff, room=Room(65536)), lambda _: None
    ).approved


def test_the_rubric_names_seeds_steps_test_data_and_foreign_labels() -> None:
    speaker = Speaker(calling("approve", reason="ok"))
    review(speaker, _draft(), lambda _: None)
    rubric = speaker.heard[0][0]["content"]
    for word in (
        "a seed that is fixed",
        "more optimiser steps than --max-steps",
        "data of a test",
        "labels, weights or",
    ):
        assert word in rubric
