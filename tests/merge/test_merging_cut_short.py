"""A merge that a full disk or a kill ends in the middle leaves whole lineages, and the next one goes on."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from mlipilot.controller.verification import verify_run
from mlipilot.errors import PausedError
from mlipilot.merge import merging
from tests.merge.conftest import Clusters, merge


def test_a_full_disk_is_a_pause_and_leaves_nothing_half(
    clusters: Clusters, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = 0

    def copy(source: Path, target: Path) -> None:
        nonlocal copies
        copies += 1
        if copies == 30:
            raise OSError(28, "No space left on device", str(target))
        shutil.copyfile(source, target)

    monkeypatch.setattr("mlipilot.merge.copying.copy_file", copy)
    with pytest.raises(PausedError, match="no space is left for"):
        merge(clusters.into, clusters.alpha, clusters.beta)
    assert verify_run(clusters.into).problems == [] and not clusters.into.merging.exists()
    merge(clusters.into, clusters.alpha, clusters.beta)
    assert [each.number for each in clusters.into.lineages()] == [0, 1, 4, 5]


def _killed_at(line: int, file: str, work: Callable[[], Any]) -> bool:
    """Do `work` in a child that is gone, without a word, at a line of a `file`; False: it came to its end."""
    watched = str(Path(merging.__file__).with_name(file))
    child = os.fork()
    if child == 0:
        seen = 0

        def trace(frame: FrameType, event: str, _argument: object) -> Any:
            nonlocal seen
            if frame.f_code.co_filename != watched:
                return None
            seen += event == "line"
            if seen >= line:
                os._exit(9)
            return trace

        sys.settrace(trace)
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


@pytest.mark.parametrize(
    ("file", "step"),
    [
        pytest.param("merging.py", 31, marks=pytest.mark.slow),
        pytest.param("copying.py", 997, marks=pytest.mark.slow),
        pytest.param("merging.py", 2, marks=pytest.mark.sweep),
        pytest.param("copying.py", 89, marks=pytest.mark.sweep),
    ],
)
def test_a_kill_at_any_line_leaves_whole_lineages_and_the_next_call_goes_on(
    clusters: Clusters, file: str, step: int
) -> None:
    line, counts = step, set[int]()
    while _killed_at(line, file, lambda: merge(clusters.into, clusters.alpha, clusters.beta)):
        line += step
        if clusters.into.root.exists():
            problems = verify_run(clusters.into).problems
            # Between a lineage and its lessons, a moment, verify asks for them.
            assert [p for p in problems if "the lesson of iteration 0" not in p] == []
            counts.add(len(clusters.into.lineages()))
            if line % 2:  # else the next one goes on here
                shutil.rmtree(clusters.into.root)
    assert verify_run(clusters.into).problems == [] and counts
    assert [each.number for each in clusters.into.lineages()] == [0, 1, 4, 5]
