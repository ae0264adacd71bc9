"""Figures: the same bytes from the same data, a word where data are missing."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mlipilot.evaluation.catalog import System, panels_of
from mlipilot.evaluation.metric_settings import EvaluationSettings
from mlipilot.evaluation.scorecard import Gate
from mlipilot.paths import RunPaths
from mlipilot.report.figures import draw_all
from mlipilot.report.figures.declared import declared_figure, first_curves
from mlipilot.report.figures.gates import relative_to_bound
from mlipilot.report.figures.hours_spent import Spending, spending
from mlipilot.report.figures.lineages import lineages_figure
from mlipilot.report.figures.progress import progress_figure
from mlipilot.report.figures.style import DARK, LIGHT, MissingDataError, render
from mlipilot.report.figures.verdicts import verdicts_figure
from mlipilot.report.ranking import RunView
from mlipilot.report.rows import SYMBOLS
from mlipilot.report.view import LineageView
from tests.report.conftest import view_of
from tests.report.synthetic import SyntheticRun


def on(system: System, view: LineageView) -> LineageView:
    """The view of a campaign whose scorecard measures another system."""
    settings = EvaluationSettings(system=system)
    return replace(view, card=view.card.model_copy(update={"settings": settings}))


def drawn(name: str, view: LineageView) -> Figure:
    """A figure that the files of metrics declare."""
    figures = {figure.name: panels for figure, panels in panels_of(view.card.settings.system).items()}
    return declared_figure(view, figures[name], LIGHT)


def test_a_figure_is_the_same_bytes_whatever_the_users_settings(view: LineageView) -> None:
    first = render(lambda theme: progress_figure(view, theme), LIGHT)
    with matplotlib.rc_context({"font.size": 30, "axes.grid": True, "savefig.dpi": 30}):
        assert render(lambda theme: progress_figure(view, theme), LIGHT) == first
        assert matplotlib.rcParams["font.size"] == 30
    assert render(lambda theme: progress_figure(view, theme), DARK) != first


def test_a_figure_is_twice_as_wide_as_on_the_page_and_names_no_software(view: LineageView) -> None:
    png = render(lambda theme: progress_figure(view, theme), LIGHT)
    assert struct.unpack(">I", png[16:20]) == (1600,)
    assert b"tEXt" not in png and b"tIME" not in png
    assert b"matplotlib" not in png


def test_before_the_first_measurement_every_figure_says_what_it_lacks(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    made = SyntheticRun(tmp_path_factory.mktemp("x") / "run")
    view = view_of(made.run)
    pictures = draw_all(view)
    assert len(pictures) == 3 + len(panels_of(view.card.settings.system)) > 3
    for picture in pictures:
        assert picture.missing.endswith("yet")
        assert not picture.light


def test_of_each_new_incumbent_a_filled_mark_says_that_it_passes_every_gate(compared: RunView) -> None:
    for axes in lineages_figure(compared, LIGHT).axes:
        marks = [line for line in axes.lines if line.get_marker() in ("o", "s", "D")]
        hollow = [line for line in marks if line.get_markerfacecolor() == LIGHT.paper]
        # Of the lineages 0, 1 and 2: two, one and two that fail gates; one, two and none that pass.
        assert (len(marks), len(hollow)) == (8, 5)


def test_torn_curves_are_missing_data(run: RunPaths) -> None:
    for path in run.root.rglob("curves.npz"):
        path.write_bytes(path.read_bytes()[:100])
    view = view_of(run)
    assert first_curves(view.incumbent) is None
    for figure in ("parity", "dynamics"):
        with pytest.raises(MissingDataError):
            drawn(figure, view)


def test_unseen_molecules_are_drawn_apart(run: RunPaths) -> None:
    for path in run.root.rglob("curves.npz"):
        with np.load(path) as arrays:
            curves = dict(arrays)
        for what in ("energy_{}_ev_per_atom", "force_{}_ev_per_a"):
            true = curves[what.format("reference")]
            curves["unseen_" + what.format("reference")] = true
            curves["unseen_" + what.format("model")] = true + 0.5
        np.savez(path, **curves)
    axes = [panel for panel in drawn("parity", view_of(run)).axes if panel.get_xlabel()]
    assert len(axes) == 4  # energies and forces of the baseline and of the incumbent
    for panel in axes:
        assert "unseen (○) MAE 500" in panel.texts[0].get_text()
        assert [line.get_marker() for line in panel.lines].count("o") == 1


def molecular_curves(starts: int) -> dict[str, Any]:
    """What the evaluator leaves of the dynamics of molecules."""
    time = np.arange(20) * 0.0005
    curves = {"stability_bound_a": np.array([0.5])}
    for index in range(starts):
        curves[f"nve_{index}_300k_time_ps"] = curves[f"stability_{index}_time_ps"] = time
        curves[f"nve_{index}_300k_energy_mev_per_atom"] = np.sin(time * 4000) + index
        curves[f"stability_{index}_bond_change_a"] = 20 * time * (index + 1)
    return curves


def test_molecules_have_a_figure_of_their_properties(run: RunPaths) -> None:
    scan = {"scan_0_coordinate": np.arange(5.0), "scan_0_reference_mev": np.arange(5.0) ** 2 * 100}
    scan["scan_0_model_mev"] = scan["scan_0_reference_mev"] + 3
    frequencies = {f"frequency_{who}_per_cm": np.array([500.0, 3000.0]) for who in ("reference", "model")}
    curves: dict[str, Any] = {**scan, **frequencies}
    for path in run.root.rglob("curves.npz"):
        np.savez(path, **curves)
    scans, vibrations = drawn("molecules", on("molecules", view_of(run))).axes
    assert len(scans.lines) == 3  # the reference, baseline and incumbent
    assert np.allclose(scans.lines[0].get_ydata(), np.arange(5.0) ** 2 / 10)  # eV
    assert "MAE 0 1/cm" in vibrations.texts[0].get_text()


def test_a_hopeless_model_does_not_hide_a_good_one_among_the_molecules(run: RunPaths) -> None:
    true = np.array([500.0, 3000.0])
    curves: dict[str, Any] = {"scan_0_coordinate": np.arange(2.0), "scan_0_reference_mev": true}
    curves |= {"scan_0_model_mev": 1000 * true, "frequency_reference_per_cm": true}
    curves["frequency_model_per_cm"] = np.array([-1e5, 1e5])
    for path in run.root.rglob("curves.npz"):
        np.savez(path, **curves)
    scans, vibrations = drawn("molecules", on("molecules", view_of(run))).axes
    assert scans.get_ylim() == (0.5 - 0.625, 3.0 + 0.625)
    assert vibrations.get_ylim() == (500 - 625, 3000 + 625)
    assert np.array_equal(vibrations.lines[0].get_ydata(), vibrations.get_ylim())  # on the edge
    assert "MAE 98750 1/cm" in vibrations.texts[0].get_text()


def test_many_trajectories_stay_apart_and_leave_room_for_the_temperature(run: RunPaths) -> None:
    for path in run.root.rglob("curves.npz"):
        np.savez(path, **molecular_curves(9))
    energies = drawn("dynamics", view_of(run)).axes[-1]
    assert {line.get_linewidth() for line in energies.lines} == {0.5}
    assert energies.texts[0].get_text() == "300 K"
    highest = max(float(np.max(line.get_ydata())) for line in energies.lines)
    assert energies.get_ylim()[1] - highest > 0.1 * np.ptp(energies.get_ylim())


def test_only_molecules_have_a_picture_more(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    empty = view_of(SyntheticRun(tmp_path_factory.mktemp("y") / "run").run)
    pictures = draw_all(on("molecules", empty))
    names = ["progress", "gates", "parity", "dynamics", "molecules", "training"]
    assert [picture.name for picture in pictures] == names
    assert len(pictures) == 6
    assert not any(word in f"{p.caption}".lower() for p in pictures for word in ("radial", "crystal", "emt"))


def test_the_dynamics_of_molecules_are_their_bonds_and_energies(run: RunPaths) -> None:
    for path in run.root.rglob("curves.npz"):
        np.savez(path, **molecular_curves(3))
    bonds, energies = drawn("dynamics", on("molecules", view_of(run))).axes
    assert "bond" in bonds.get_title()
    assert len(energies.lines) == 2 * 3  # baseline and incumbent
    assert [line for line in bonds.lines if np.array_equal(line.get_ydata(), [0.5, 0.5])]  # the bound
    assert len(bonds.lines) == 2 * 3 + 1

    (only,) = drawn("dynamics", on("structures", view_of(run))).axes
    assert len(only.lines) == 2 * 3


@pytest.mark.parametrize(
    ("gate", "value", "ratio"),
    [
        (Gate(metric="force_mae_mev_per_a", max=25.0), 25.0, 1.0),
        (Gate(metric="force_mae_mev_per_a", max=25.0), 50.0, 2.0),
        (Gate(metric="force_mae_mev_per_a", max=25.0), -1.0, 0.0),
        (Gate(metric="nve_completed_fraction", min=1.0), 0.5, 2.0),
        (Gate(metric="nve_completed_fraction", min=1.0), 0.0, float("inf")),
    ],
)
def test_right_of_one_a_gate_fails(gate: Gate, value: float, ratio: float) -> None:
    assert relative_to_bound(gate, value) == ratio
    assert (ratio > 1) == (gate.violation(value, 5.0) > 0)


def test_convergence_is_over_iterations_and_over_the_hours_that_were_spent(view: LineageView) -> None:
    above, over_hours, *_ = progress_figure(view, LIGHT).axes
    hours, spent = [], 0.0
    for iteration in view.iterations:
        spent += iteration.cost.cpu_s / 3600
        hours.append(spent)
    assert spending([view]) == Spending("CPU-hours", {0: hours})
    assert over_hours.get_shared_y_axes().joined(above, over_hours)
    steps = [
        next(line for line in axes.lines if line.get_drawstyle() == "steps-post")
        for axes in (above, over_hours)
    ]
    assert np.array_equal(np.asarray(steps[0].get_xdata())[:-1], [0, 1, 2, 3, 4])
    assert np.array_equal(np.asarray(steps[1].get_xdata())[:-1], hours)
    assert np.array_equal(steps[0].get_ydata(), steps[1].get_ydata())


def test_hours_are_of_gpus_only_where_every_lineage_used_them(compared: RunView) -> None:
    first, second, *_ = compared.lineages
    on_gpu = replace(
        first, iterations=[replace(i, cost=replace(i.cost, gpu_s=3600.0)) for i in first.iterations]
    )
    assert spending([on_gpu]) == Spending("GPU-hours", {0: [1.0, 2.0, 3.0, 4.0]})
    assert spending([on_gpu, second]).unit == "CPU-hours"


def test_candidates_that_were_not_kept_are_dots_of_their_lineage(compared: RunView) -> None:
    for axes in lineages_figure(compared, LIGHT).axes:
        dots = [line for line in axes.lines if line.get_marker() == "."]
        # Lineage 0 has reverted one of three, the others none.
        assert [np.size(line.get_xdata()) for line in dots] == [1, 0, 0]


def test_the_matrix_has_a_cell_with_a_sign_for_each_verdict_and_counts_them(compared: RunView) -> None:
    cells, counts = verdicts_figure(compared, LIGHT).axes
    rows = [view.iterations[1:] for view in compared.lineages]
    colors = {"accepted": LIGHT.incumbent, "reverted": LIGHT.reverted, "invalid": LIGHT.muted}
    assert [patch.get_facecolor() for patch in cells.patches] == [
        to_rgba(colors[iteration.status]) for row in rows for iteration in row
    ]
    signs = {(x, y): text.get_text() for text in cells.texts for x, y in [text.get_position()]}
    assert signs == {(i.number, y): SYMBOLS[i.status] for y, row in enumerate(rows) for i in row}
    names = [label.get_text() for label in cells.get_yticklabels()]
    assert names == ["scripted · 0", "scripted · 1 ★", "scripted · 2"]
    told = {text.get_position(): text.get_text() for text in counts.texts}
    assert [[told[x, y] for x in range(4)] for y in range(4)] == [
        ["2", "1", "0", "0"], ["2", "0", "0", "0"], ["1", "0", "0", "0"], ["5", "1", "0", "0"],
    ]  # fmt: skip


def test_a_frame_is_around_what_fresh_seeds_confirmed(confirmed: LineageView) -> None:
    cells, _ = verdicts_figure(RunView([confirmed]), LIGHT).axes
    frames = [patch for patch in cells.patches if not patch.get_fill()]
    assert [patch.get_x() + 0.46 for patch in frames if isinstance(patch, Rectangle)] == [1.0]


def test_before_a_hypothesis_there_is_no_matrix(view: LineageView) -> None:
    with pytest.raises(MissingDataError):
        verdicts_figure(RunView([replace(view, iterations=view.iterations[:1])]), LIGHT)
