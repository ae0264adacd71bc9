"""Whether the fresh seeds of the model that stands are as far from the truth as they are from one another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlipilot.controller.examining import committees
from mlipilot.controller.verdict import Measurements
from mlipilot.errors import PausedError
from mlipilot.evaluation.committee import Residuals, reliability, residuals, spread_bins
from mlipilot.report.exam_rows import exam_result
from mlipilot.report.figures.style import MissingDataError, Theme, decimal_log_axis, new_figure, note
from mlipilot.report.text import number
from mlipilot.report.view import LineageView

Committees = dict[str, Residuals]
"""By what the structures are called."""
_MARKERS = "osD^v"
_LINES = ("-", "--", ":", "-.")


def calibration_figure(view: LineageView, theme: Theme) -> Figure:
    """Reliability, and error over spread in ENCE's bins, a line for each set of structures on record.

    Raises MissingDataError before the exam, and where an array is not the one that was measured.
    """
    areas = examined_areas(view)
    committees = _committees(view) if areas else {}
    drawn = [(on, committees[on]) for on in areas if on in committees]
    if not drawn:
        raise MissingDataError("no committee of fresh seeds has been examined yet")
    figure = new_figure(3.9)
    left, right = figure.subplots(1, 2)
    for index, (on, found) in enumerate(drawn):
        color, style = theme.series[index % len(theme.series)], _LINES[index % len(_LINES)]
        look: dict[str, Any] = {"color": color, "ls": style, "lw": 1.5}
        levels, shares = reliability(found)
        left.plot([0, *levels, 1], [0, *shares, 1], **look)
        sigmas, errors = (1000 * each for each in spread_bins(found))
        shown = (sigmas > 0) & (errors > 0)  # on logarithmic axes
        look |= {"marker": _MARKERS[index % len(_MARKERS)], "ms": 4.5}
        label = f"{on} structures (area {number(areas[on], 2)})"
        right.plot(sigmas[shown], errors[shown], label=label, **look)
    _dress_reliability(left, theme)
    _dress_bins(right, theme)
    figure.legend(*right.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def examined_areas(view: LineageView) -> dict[str, float]:
    """Miscalibration areas on record of the model that stands, by structures; none without a committee."""
    result = exam_result(view, view.state.incumbent)
    return {one.on: one.miscalibration_area for one in result.committee} if result else {}


def _committees(view: LineageView) -> Committees:
    """The members' forces beside the truth, from the evaluations' sealed files as the exam read them."""
    try:
        return dict(_read(view))
    except PausedError:
        raise MissingDataError(
            "arrays of an evaluation are not those that were measured: `mlipilot verify`"
        ) from None
    except (OSError, ValueError):  # gone meanwhile, or no numbers
        raise MissingDataError("arrays of an evaluation cannot be read") from None


def _read(view: LineageView) -> Iterator[tuple[str, Residuals]]:
    measured = Measurements(view.lineage, view.spec, view.card)
    for on, members, truth in committees(view.state, measured, view.state.incumbent or 0):
        yield on, residuals(members, truth)


def _dress_reliability(axes: Axes, theme: Theme) -> None:
    axes.set_title("Reliability")
    axes.plot([0, 1], [0, 1], color=theme.muted, lw=0.9, zorder=1)
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.grid()
    axes.set_xlabel("central interval: share that should be within")
    axes.set_ylabel("share of true force components within")
    note(axes, "too sure", theme, x=0.97, y=0.04, ha="right", va="bottom")


def _dress_bins(axes: Axes, theme: Theme) -> None:
    axes.set_title("Error over spread")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.grid()
    ends = [*axes.get_xlim(), *axes.get_ylim()]
    limits = min(ends), max(ends)
    axes.plot(limits, limits, color=theme.muted, lw=0.9, zorder=1)
    axes.set(xlim=limits, ylim=limits, aspect="equal")
    axes.set_xlabel("RMS spread σ (meV/Å)")
    axes.set_ylabel("RMS error of the mean (meV/Å)")
    for axis in (axes.xaxis, axes.yaxis):
        decimal_log_axis(axis)
    note(axes, "too sure", theme)
