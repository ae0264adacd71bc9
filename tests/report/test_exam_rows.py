"""What the report says of the exam: values over seeds, failures, and the same on page and in text."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlipilot.evaluation.catalog import EXAM
from mlipilot.report.exam_rows import committee_rows, exam_rows
from mlipilot.report.lineage_reading import load_lineage
from mlipilot.report.results import result_rows
from mlipilot.report.rows import sealed_rows
from mlipilot.report.view import LineageView
from tests.controller.test_confirmation_recorded import searched
from tests.report.synthetic import SyntheticRun, make_spec
from tests.report.synthetic_values import EXAM_RANGES


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> LineageView:
    made = searched(tmp_path_factory.mktemp("exam"), 0.6, 0.9)
    made.confirm({0: 0.1, 1: 0.6, 2: 0.9})
    made.sealed_check(broken=("dimer_wall_wrong_fraction",))
    made.end("a test")
    return load_lineage(made.run, made.lineage)


def test_it_has_the_exams_metrics_and_no_other(view: LineageView) -> None:
    assert EXAM_RANGES.keys() <= EXAM
    rows = {row.label: row for row in exam_rows(view)}
    assert list(rows) == [
        "bcc − fcc energy error",
        "surface energy MAE",
        "unstable stacking fault error",
        "dimer wall that falls inwards",
    ]
    surfaces = rows["surface energy MAE"]
    assert surfaces.unit == "meV/Å²" and "±" in surfaces.baseline and "±" in surfaces.incumbent
    assert not {row.metric for row in sealed_rows(view)} & EXAM, "that is of the sealed split alone"


def test_what_failed_says_so_and_why(view: LineageView) -> None:
    (row,) = [row for row in exam_rows(view) if row.reason]
    assert (row.baseline, row.incumbent) == ("failed", "failed")
    assert row.reason == "the dynamics broke: a force of 61 eV/Å at step 42"


def test_the_final_results_say_how_many_seeds_pass_on_sealed_data(
    view: LineageView,
) -> None:
    row = result_rows(view)[0]
    assert row.label == "seeds that pass every gate"
    assert (row.baseline_test, row.baseline_sealed) == ("0 of 3", "0 of 3")
    assert (row.incumbent_test, row.incumbent_sealed) == ("3 of 3", "3 of 3")


def test_without_a_confirmation_the_searchs_own_seeds_are_examined(tmp_path: Path) -> None:
    made = SyntheticRun(tmp_path / "cu_emt", make_spec(seeds=[1, 2], confirm=None))
    made.propose(0, None, {})
    made.candidate(0, 0.3)
    assert exam_rows(load_lineage(made.run, made.lineage)) == []
    made.end("a test")
    found = load_lineage(made.run, made.lineage)
    assert len(exam_rows(found)) == len(EXAM_RANGES) and committee_rows(found) == []
