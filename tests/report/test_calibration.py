"""The figure of the committee: what it draws is what the record says, from files that were measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlipilot.paths import CURVES, JobKey
from mlipilot.report.export import Export
from mlipilot.report.figures import Picture, draw_all
from mlipilot.report.figures.calibration import calibration_figure
from mlipilot.report.figures.style import LIGHT, MissingDataError
from mlipilot.report.html import render_html
from mlipilot.report.lineage_reading import load_lineage
from mlipilot.report.markdown import render_markdown
from mlipilot.report.page import context
from mlipilot.report.view import LineageView
from tests.controller.test_confirmation_recorded import searched
from tests.report.synthetic import SyntheticRun

NAMES = ("progress", "gates", "parity", "training", "dynamics")


def examined(root: Path) -> SyntheticRun:
    made = searched(root, 0.9)
    made.confirm({0: 0.1, 1: 0.9})
    made.sealed_check(0.4)
    return made


def view_of(made: SyntheticRun) -> LineageView:
    return load_lineage(made.run, made.lineage)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SyntheticRun:
    return examined(tmp_path_factory.mktemp("calibration"))


def test_each_line_is_what_the_record_says_of_these_structures(made: SyntheticRun) -> None:
    view = view_of(made)
    assert view.state.examined is not None
    of_incumbent = view.state.examined.results[1]
    left, right = calibration_figure(view, LIGHT).axes
    *curves, diagonal = left.lines
    assert np.array_equal(diagonal.get_xdata(), diagonal.get_ydata())
    assert [result.on for result in of_incumbent.committee] == ["test", "sealed"]
    for result, curve, marks in zip(of_incumbent.committee, curves, right.lines[:-1], strict=True):
        levels, shares = (np.asarray(data)[1:-1] for data in curve.get_data())
        assert np.abs(shares - levels).mean() == pytest.approx(result.miscalibration_area)
        sigmas, errors = map(np.asarray, marks.get_data())
        assert (np.abs(sigmas - errors) / sigmas).mean() == pytest.approx(result.ence)
        assert np.sqrt((errors**2).mean()) == pytest.approx(result.force_rmse_mev_per_a)
        assert str(marks.get_label()).startswith(f"{result.on} structures")


def test_it_is_of_the_model_that_stands(made: SyntheticRun) -> None:
    view = view_of(made)
    of_baseline = replace(view, state=replace(view.state, incumbent=0))
    found, of_other = (
        np.asarray(calibration_figure(each, LIGHT).axes[1].lines[0].get_ydata())
        for each in (view, of_baseline)
    )
    assert (found < of_other).all(), "the baseline's errors on the test split are larger"


def test_nothing_is_drawn_from_arrays_that_are_not_those_that_were_measured(tmp_path: Path) -> None:
    made = examined(tmp_path)
    view = view_of(made)
    key = next(key for key in view.state.jobs if (key.kind, key.iteration) == ("sealed", 1))
    path = made.lineage.metrics(key, 1).with_name(CURVES)
    with np.load(path) as found:
        arrays = dict(found)
    arrays["force_model_ev_per_a"] = arrays["force_reference_ev_per_a"]  # a perfect member
    np.savez_compressed(path, **arrays)
    with pytest.raises(MissingDataError, match="not those that were measured"):
        calibration_figure(view, LIGHT)
    path.unlink()
    with pytest.raises(MissingDataError, match="not those that were measured"):
        calibration_figure(view, LIGHT)


def test_a_seed_that_was_lost_is_no_member(made: SyntheticRun) -> None:
    view = view_of(made)
    lost = [key for key in view.state.jobs if (key.kind, key.iteration) == ("sealed", 1)]
    whole = calibration_figure(view, LIGHT).axes[0].lines[0].get_ydata()
    jobs = {key: attempts for key, attempts in view.state.jobs.items() if key != lost[0]}
    two = calibration_figure(replace(view, state=replace(view.state, jobs=jobs)), LIGHT)
    assert not np.array_equal(two.axes[0].lines[0].get_ydata(), whole)
    jobs = {key: attempts for key, attempts in view.state.jobs.items() if key not in lost[1:]}
    with pytest.raises(MissingDataError):
        calibration_figure(replace(view, state=replace(view.state, jobs=jobs)), LIGHT)


def names_without_drawing(view: LineageView, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr("mlipilot.report.figures._picture", lambda *a: Picture(a[0], a[1], a[2]))
    return [picture.name for picture in draw_all(view)]


def test_there_is_no_such_picture_without_a_committee(
    made: SyntheticRun, view: LineageView, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "calibration" in names_without_drawing(view_of(made), monkeypatch)
    assert "calibration" not in names_without_drawing(view, monkeypatch)
    assert JobKey(0, 1, "sealed") in view.state.jobs, "that one was examined, by no fresh seeds"


@pytest.mark.parametrize(
    ("render", "mark"), [(render_html, 'alt="calibration.'), (render_markdown, "figures/calibration.png")]
)
def test_page_and_text_have_it_in_the_exam_and_nowhere_else(
    made: SyntheticRun, render: Callable[[dict[str, Any]], str], mark: str
) -> None:
    pictures = [Picture(name, name, f"of {name}", b"light", b"dark") for name in (*NAMES, "calibration")]
    before, after = render(context(view_of(made), pictures, Export(missing="no model"))).split(mark)
    assert "as a committee" in before and "bins of the spread" in before
    assert "A gain is over the incumbent" in after, "the caption of the next section"
    without = render(context(view_of(made), pictures[:-1], Export(missing="no model")))
    assert mark not in without and "as a committee" in without
