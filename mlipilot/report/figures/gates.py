"""Every gate before and after, relative to its bound."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mlipilot.controller.accept import mean
from mlipilot.evaluation.catalog import metric_unit
from mlipilot.evaluation.scorecard import Gate
from mlipilot.report.figures.style import MissingDataError, Theme, decimal_log_axis, new_figure
from mlipilot.report.text import metric_label
from mlipilot.report.view import IterationView, LineageView

_SMALLEST_RATIO, _LARGEST_RATIO = 0.01, 100.0


def gates_figure(view: LineageView, theme: Theme) -> Figure:
    """Each gated metric relative to its bound, baseline → incumbent; right of 1 it fails.

    Raises MissingDataError before the baseline is measured.
    """
    baseline, incumbent = view.baseline, view.incumbent
    if baseline is None or incumbent is None or not baseline.scores:
        raise MissingDataError("the baseline has not been measured yet")
    figure = new_figure(1.3 + 0.29 * len(view.gates))
    axes = figure.subplots()
    axes.axvspan(1, _LARGEST_RATIO * 2, color=theme.failing, lw=0, zorder=0)
    axes.axvline(1, color=theme.reverted, lw=1.2, zorder=1)
    for row, gate in enumerate(view.gates):
        after = incumbent if view.improved else None
        _draw_gate(axes, len(view.gates) - 1 - row, gate, baseline, after, theme)
    axes.set_xscale("log")
    axes.set_xlim(_SMALLEST_RATIO / 1.5, _LARGEST_RATIO * 1.5)
    axes.set_ylim(-0.7, len(view.gates) - 0.3)
    axes.set_yticks(range(len(view.gates)), [_gate_label(gate) for gate in reversed(view.gates)])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    decimal_log_axis(axes.xaxis)
    axes.set_xlabel("value / bound  (for lower bounds: bound / value)")
    handles = [Line2D([], [], color=theme.baseline, marker="D", ls="", ms=6, label="baseline")]
    if view.improved:
        name = f"incumbent (iteration {incumbent.number})"
        handles.append(Line2D([], [], color=theme.incumbent, marker="o", ls="", ms=7, label=name))
    handles.append(Line2D([], [], color=theme.muted, marker="<", ls="", ms=6, label="beyond the axis"))
    if any(len(i.values(g.metric)) < len(i.seeds) for i in (baseline, incumbent) for g in view.gates):
        handles.append(Line2D([], [], color=theme.muted, marker="x", ls="", ms=6, mew=1.6, label="no value"))
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
    return figure


def _gate_label(gate: Gate) -> str:
    unit = metric_unit(gate.metric)
    return f"{metric_label(gate.metric)} {gate.text}" + (f" {unit}" if unit else "")


def relative_to_bound(gate: Gate, value: float) -> float:
    """How a value stands to its bound: at most 1 when the gate holds. A non-positive value counts as 0."""
    if gate.max is not None:
        return max(value, 0.0) / gate.max
    return math.inf if value <= 0 else (gate.min or 0.0) / value


def _draw_gate(
    axes: Axes, y: int, gate: Gate, baseline: IterationView, incumbent: IterationView | None, theme: Theme
) -> None:
    before = _draw_ratio(axes, y, gate, baseline, ("D", 8, theme.baseline), theme)
    if incumbent is None:
        return
    after = _draw_ratio(axes, y, gate, incumbent, ("o", 6.5, theme.incumbent), theme)
    if abs(math.log(after / before)) > 0.25:  # a shorter arrow would hide between its ends
        axes.annotate(
            "",
            xy=(after, y),
            xytext=(before, y),
            zorder=2,
            arrowprops={"arrowstyle": "-|>", "color": theme.muted, "lw": 1.1, "shrinkA": 4, "shrinkB": 5},
        )


def _draw_ratio(
    axes: Axes, y: int, gate: Gate, iteration: IterationView, mark: tuple[str, float, str], theme: Theme
) -> float:
    """A candidate's mark, its shape, size and colour, on a gate's line; returns where within the axis."""
    marker, size, color = mark
    values = iteration.values(gate.metric)
    if len(values) < len(iteration.seeds):
        axes.plot(_LARGEST_RATIO, y, "x", color=color, ms=size, mew=2, zorder=4)
        return _LARGEST_RATIO
    ratios = [_clipped(relative_to_bound(gate, value)) for value in values]
    centre = _clipped(relative_to_bound(gate, mean(values)))
    at_edge = centre in (_SMALLEST_RATIO, _LARGEST_RATIO)
    axes.plot([min(ratios), max(ratios)], [y, y], color=color, lw=2.5, alpha=0.5, zorder=3)
    shape = marker if not at_edge else "<" if centre == _SMALLEST_RATIO else ">"
    axes.plot(centre, y, shape, color=color, ms=size, mec=theme.paper, mew=0.8, zorder=4)
    return centre


def _clipped(ratio: float) -> float:
    return min(max(ratio, _SMALLEST_RATIO), _LARGEST_RATIO)
