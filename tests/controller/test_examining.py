"""The exam of what fresh seeds confirmed: its record, what `verify` makes of it, and what people read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlipilot.controller.examining import compute_exam
from mlipilot.controller.next_steps import next_step
from mlipilot.controller.recheck import recheck_records
from mlipilot.controller.state import replay
from mlipilot.controller.steps import Examine, Finish
from mlipilot.controller.verdict import Measurements
from mlipilot.errors import PausedError
from mlipilot.paths import CURVES, RunPaths
from mlipilot.report.exam_rows import committee_rows, exam_sentences
from mlipilot.report.lineage_reading import load_lineage
from mlipilot.report.status_json import status_dict
from mlipilot.report.view import LineageView
from tests.controller.test_confirmation_recorded import searched
from tests.controller.test_recheck import Body, Forger, forger
from tests.report.synthetic import SyntheticRun


def examined(root: Path, quality: float) -> SyntheticRun:
    """A run that was confirmed, and whose models have this quality on the sealed split."""
    made = searched(root, 0.6, 0.3, 0.9)
    made.confirm({0: 0.1, 1: 0.6, 3: 0.9})
    made.lineage.incumbent.symlink_to("iterations/0003")
    made.sealed_check(quality)
    made.end("a test")
    return made


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> SyntheticRun:
    return examined(tmp_path_factory.mktemp("good"), 0.97)


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> SyntheticRun:
    return examined(tmp_path_factory.mktemp("bad"), 0.4)


def view_of(made: SyntheticRun) -> LineageView:
    return load_lineage(made.run, made.lineage)


def test_it_is_due_once_the_sealed_check_of_a_confirmed_lineage_is_there(good: SyntheticRun) -> None:
    records = view_of(good).records
    kinds = [record.event.kind for record in records]
    at = kinds.index("examined")
    assert kinds[at - 1 :] == ["sealed_check", "examined", "finished"]
    assert isinstance(next_step(replay(records[:at]), good.spec), Examine)
    assert isinstance(next_step(replay(records[: at + 1]), good.spec), Finish)


def test_who_passes_on_the_sealed_split_is_feasible(good: SyntheticRun) -> None:
    view = view_of(good)
    assert view.state.examined is not None
    of_baseline, of_incumbent = view.state.examined.results
    assert (of_baseline.iteration, of_incumbent.iteration) == (0, 3)
    assert (of_baseline.passed, of_incumbent.passed, of_incumbent.failed) == (0, 3, [])
    assert set(of_baseline.failed) < set(good.card.metrics), (
        "what a sealed split says nothing of is not asked"
    )
    assert view.feasible and status_dict(view)["feasible"] is True
    (said,) = exam_sentences(view)
    assert said == "On the sealed split it passes every gate that can be asked there with 3 of 3 fresh seeds."


def test_who_fails_there_is_not_feasible_though_every_gate_is_passed_on_test(
    bad: SyntheticRun,
) -> None:
    view = view_of(bad)
    assert view.incumbent is not None and view.incumbent.feasible
    assert not view.feasible and status_dict(view)["feasible"] is False
    (said,) = exam_sentences(view)
    assert "with 0 of 3 fresh seeds (energy MAE, force MAE" in said and said.endswith(
        "it is not feasible there."
    )


def test_the_committee_is_of_the_fresh_seeds_on_each_split(good: SyntheticRun) -> None:
    rows = committee_rows(view_of(good))
    assert [(row.who, row.on) for row in rows] == [
        *(("baseline", "test"), ("baseline", "sealed")),
        *(("iteration 3", "test"), ("iteration 3", "sealed")),
    ]
    assert all(float(row.error) > 0 and float(row.spread) > 0 for row in rows)


def test_a_seed_that_was_not_measured_there_passes_nothing_and_is_no_member(tmp_path: Path) -> None:
    made = searched(tmp_path, 0.9)
    made.confirm({0: 0.1, 1: 0.9})
    made.sealed_check()
    state = replay(made.ledger.records)
    lost = [key for key in state.jobs if key.kind == "sealed" and key.iteration == 1]
    for key in lost[1:]:
        del state.jobs[key]
    result = compute_exam(state, Measurements(made.lineage, made.spec, made.card)).results[1]
    assert (result.passed, result.committee) == (1, [])


def test_arrays_that_are_not_those_that_were_measured_pause_it(tmp_path: Path) -> None:
    made = searched(tmp_path, 0.9)
    made.confirm({0: 0.1, 1: 0.9})
    made.sealed_check()
    state = replay(made.ledger.records)
    key = next(key for key in state.jobs if key.kind == "sealed" and key.iteration == 1)
    path = made.lineage.metrics(key, 1).with_name(CURVES)
    np.savez_compressed(path, force_model_ev_per_a=np.zeros((480, 3)))
    with pytest.raises(PausedError, match=r"curves\.npz is not the file that was measured; ?|put it back"):
        compute_exam(state, Measurements(made.lineage, made.spec, made.card))


@pytest.fixture
def forge(bad: SyntheticRun, tmp_path: Path) -> Forger:
    return forger(bad.run, tmp_path)


def _results(run: RunPaths) -> list[Body]:
    state = replay(load_lineage(run, run.lineage(0)).records)
    assert state.examined is not None
    return [result.model_dump() for result in state.examined.results]


def test_a_better_result_than_the_files_give_is_named(bad: SyntheticRun, forge: Forger) -> None:
    results = _results(bad.run)
    results[1] |= {"passed": 3, "failed": []}
    found, line = forge("examined", {"results": results})
    assert any(f"ledger.jsonl:{line}: examined.results: it says" in problem for problem in found)


def test_a_better_committee_than_the_files_give_is_named(bad: SyntheticRun, forge: Forger) -> None:
    results = _results(bad.run)
    results[1]["committee"][0]["spearman"] = 0.99
    found, line = forge("examined", {"results": results})
    assert any(f"ledger.jsonl:{line}: examined.results: it says" in problem for problem in found)


def test_an_honest_one_has_no_fault(good: SyntheticRun, bad: SyntheticRun) -> None:
    assert recheck_records(good.run, good.lineage) == recheck_records(bad.run, bad.lineage) == []
