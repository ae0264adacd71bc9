"""The path policy: the draft recipe's own plain text files, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlipilot.audit.files import tree_digest
from mlipilot.pilots.draft_files import MAX_FILE_BYTES, MAX_FILES, DraftFiles
from mlipilot.pilots.edit_matching import RefusedError
from tests.pilots.conftest import RECIPE_YAML


@pytest.fixture
def bench(draft: Path) -> DraftFiles:
    return DraftFiles(draft)


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../incumbent/recipe.yaml", "sub/../../x", "..", "", ".", "~/x", "sub\\x", ".hidden",
     "sub/.git/config", "__pycache__/x.py", "a\nb", "a\x00b", "a" * 300, "a/b/c/d/e", "-rf", "x y"],
)  # fmt: skip
def test_a_path_that_is_not_plainly_inside_is_refused(bench: DraftFiles, path: str) -> None:
    with pytest.raises(RefusedError, match="not allowed"):
        bench.read(path)
    with pytest.raises(RefusedError, match="not allowed"):
        bench.write(path, "x: 1\n")


def test_symbolic_links_are_neither_read_nor_written_nor_listed(bench: DraftFiles, draft: Path) -> None:
    outside = draft.parent / "outside"
    outside.mkdir()
    (outside / "secret.yaml").write_text("secret: 1\n")
    (draft / "link.yaml").symlink_to(outside / "secret.yaml")
    (draft / "folder").symlink_to(outside)
    (draft / "dangling.yaml").symlink_to(outside / "new.yaml")
    (draft / "loop.yaml").symlink_to(draft / "loop.yaml")
    for path in ("link.yaml", "folder/secret.yaml", "dangling.yaml", "loop.yaml", "folder/new.yaml"):
        with pytest.raises(RefusedError, match="symbolic link"):
            bench.read(path)
        with pytest.raises(RefusedError, match="symbolic link"):
            bench.write(path, "x: 1\n")
    assert bench.names() == ["recipe.yaml", "train.py"]
    assert sorted(path.name for path in outside.iterdir()) == ["secret.yaml"]


def test_a_pipe_is_refused_and_does_not_hang(bench: DraftFiles, draft: Path) -> None:
    os.mkfifo(draft / "pipe.yaml")
    with pytest.raises(RefusedError, match="not a regular file"):
        bench.read("pipe.yaml")


def test_a_hard_link_to_the_incumbent_is_replaced_and_not_written_through(
    draft: Path, incumbent: Path, bench: DraftFiles
) -> None:
    (draft / "recipe.yaml").unlink()
    os.link(incumbent / "recipe.yaml", draft / "recipe.yaml")
    bench.replace("recipe.yaml", "decay: 0.0", "decay: 0.9")
    assert (incumbent / "recipe.yaml").read_text() == RECIPE_YAML


@pytest.mark.parametrize("data", [b"\xff\xfe", b"a\x00b", b"x" * (MAX_FILE_BYTES + 1)])
def test_binary_and_large_files_are_not_read(bench: DraftFiles, draft: Path, data: bytes) -> None:
    (draft / "weights.txt").write_bytes(data)
    with pytest.raises(RefusedError, match=r"binary|larger than 64 KiB"):
        bench.read("weights.txt")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("x" * (MAX_FILE_BYTES + 1), "larger than 64 KiB"),
        ("a\x00b", "control or invisible"),
        ("x = 1 # \u202e\u2066 admin", "control or invisible"),
        ("a\rb", "control or invisible"),
        ("a\u2028b", "control or invisible"),
        ("\x1b[31mred", "control or invisible"),
        ("\ud800", "not valid Unicode"),
    ],
)
def test_what_a_reader_of_the_diff_could_not_see_is_not_written(
    bench: DraftFiles, draft: Path, content: str, says: str
) -> None:
    with pytest.raises(RefusedError, match=says):
        bench.write("notes.txt", content)
    assert not (draft / "notes.txt").exists()


def test_edits_that_break_a_file_leave_it_as_it_was(bench: DraftFiles, draft: Path, incumbent: Path) -> None:
    with pytest.raises(RefusedError, match="would not be YAML"):
        bench.replace("recipe.yaml", "schedule:", "schedule: [")
    with pytest.raises(RefusedError, match="would not be Python"):
        bench.write("train.py", "def f(:")
    with pytest.raises(RefusedError, match="changes nothing"):
        bench.write("recipe.yaml", RECIPE_YAML)
    assert tree_digest(draft) == tree_digest(incumbent)


@pytest.mark.parametrize("content", ["", "hello\n", "- 1\n", "1\n"])
def test_a_recipe_stays_a_mapping(bench: DraftFiles, content: str) -> None:
    with pytest.raises(RefusedError, match="not be a mapping"):
        bench.write("recipe.yaml", content)


def test_a_value_keeps_its_kind_however_it_is_written(bench: DraftFiles) -> None:
    with pytest.raises(RefusedError, match=r'ema\.decay would be "high": its value must be a number'):
        bench.replace("recipe.yaml", "decay: 0.0", "decay: high")
    bench.replace("recipe.yaml", "  decay: 0.0", "  decay: 0.5\n  new: high")


def test_a_file_is_no_folder(bench: DraftFiles) -> None:
    for path in ("recipe.yaml/b.txt", "recipe.yaml/a/b.txt"):
        with pytest.raises(RefusedError, match="is a file, not a directory"):
            bench.write(path, "x")


def test_the_path_of_a_value_is_no_text_to_search_for(bench: DraftFiles) -> None:
    with pytest.raises(RefusedError, match="is a value's path, no text of the file: use set_value"):
        bench.replace("recipe.yaml", "loss.forces", "1.0")
    with pytest.raises(RefusedError, match="search was not found"):
        bench.replace("recipe.yaml", "loss.charge", "1.0")


def test_a_missing_file_is_answered_with_those_that_there_are(bench: DraftFiles) -> None:
    with pytest.raises(RefusedError, match=r"the files are: recipe\.yaml, train\.py"):
        bench.read("recipes.yaml")


def test_files_may_be_added_in_folders_but_not_without_end(bench: DraftFiles) -> None:
    bench.write("layers/radial.py", "x = 1\n")
    assert bench.names() == ["layers/radial.py", "recipe.yaml", "train.py"]
    with pytest.raises(RefusedError, match="is a directory"):
        bench.write("layers", "x")
    with pytest.raises(RefusedError, match="is a file, not a directory"):
        bench.write("train.py/x.py", "x = 1\n")
    for number in range(MAX_FILES - 3):
        bench.write(f"n{number}.txt", "x")
    with pytest.raises(RefusedError, match="at most 64 files"):
        bench.write("one_more.txt", "x")


@settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    max_examples=60,
)
@given(st.text("./~\\ab-\x00 \n\u202eé\ud800", max_size=12))
def test_no_path_whatever_reaches_outside(bench: DraftFiles, draft: Path, path: str) -> None:
    try:
        bench.write(path, "content\n")
    except RefusedError:
        return
    finally:
        assert sorted(entry.name for entry in draft.parent.iterdir()) == ["draft", "incumbent"]
