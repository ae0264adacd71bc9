"""Findings: appended by many at once, once each, and read whatever a kill left."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mlipilot.audit.lessons import Finding
from mlipilot.controller.findings import add_finding, read_findings
from mlipilot.paths import RunPaths


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    return RunPaths(tmp_path)


def _finding(lineage: int, iteration: int, lesson: str = "EMA steadies the forces") -> Finding:
    return Finding(
        lineage=lineage,
        iteration=iteration,
        pilot="local",
        title="EMA",
        verdict="accepted",
        lesson=lesson,
        verdict_record="a" * 64,
        time="2026-01-01T00:00:00+00:00",
    )


def test_no_file_is_no_finding(run: RunPaths) -> None:
    assert read_findings(run) == []


def test_lineages_append_side_by_side_and_nothing_is_lost_or_doubled(run: RunPaths) -> None:
    def add(lineage: int) -> None:
        for iteration in range(5):
            add_finding(run, _finding(lineage, iteration))
            add_finding(run, _finding(lineage, iteration, "said again after a kill"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(8)))
    found = read_findings(run)
    assert {(f.lineage, f.iteration) for f in found} == {(a, b) for a in range(8) for b in range(5)}
    assert len(found) == 40
    assert {f.lesson for f in found} == {"EMA steadies the forces"}


def test_a_torn_line_is_passed_over_and_the_next_one_is_whole(run: RunPaths) -> None:
    add_finding(run, _finding(0, 1))
    with run.findings.open("a") as stream:
        stream.write('{"lineage": 0, "iter')
    assert len(read_findings(run)) == 1
    add_finding(run, _finding(0, 2))
    assert [f.iteration for f in read_findings(run)] == [1, 2]


@pytest.mark.parametrize("line", ["", "[]", '{"lineage": -1}', "\x00\xff"])
def test_a_line_that_is_no_finding_is_passed_over(run: RunPaths, line: str) -> None:
    run.findings.write_text(line + "\n")
    add_finding(run, _finding(1, 1))
    assert [f.lineage for f in read_findings(run)] == [1]


def test_it_says_where_it_comes_from() -> None:
    assert _finding(2, 7).text == "lineage 2, iteration 7 (accepted): EMA: EMA steadies the forces"
