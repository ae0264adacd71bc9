"""Convergence of a lineage: violation and objective of every candidate over iterations and over hours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from mlipilot.controller.accept import mean
from mlipilot.report.figures.hours_spent import Spending, spending
from mlipilot.report.figures.style import MissingDataError, Theme, measures_figure, note, plain_log_ticks
from mlipilot.report.text import number, standard_deviation
from mlipilot.report.view import IterationView, LineageView

_MAX_LABELLED = 9
"""With more iterations, numbers beside the marks would overlap."""


class _Along(NamedTuple):
    """Where iterations stand on a horizontal axis."""

    xs: Sequence[float]
    start: float
    end: float
    """Of the axis."""
    border: float | None
    """Left of it the incumbent still fails a gate; None: everywhere."""
    apart: float
    """How far a seed's dash stands from its candidate's mark."""
    labelled: bool


def progress_figure(view: LineageView, theme: Theme) -> Figure:
    """Violation (above), objective (below) over iterations and over hours. Raises MissingDataError."""
    if not any(iteration.scores for iteration in view.iterations):
        raise MissingDataError("no candidate has been measured yet")
    last, spent = max(len(view.iterations) - 1, 1), spending([view])
    figure, left, right = measures_figure(5.4, last, spent.largest, spent.unit)
    violations = {i.number: i.violations for i in view.iterations if i.scores}
    objectives = {i.number: i.objectives for i in view.iterations if i.log_objectives}
    for panels, along in ((left, _over_iterations(view)), (right, _over_hours(view, spent))):
        for axes, values in zip(panels, (violations, objectives), strict=True):
            _shade_phases(axes, along, theme)
            _draw_measure(axes, view, values, along, theme)
    left.above.set_ylim(bottom=-0.06 * left.above.get_ylim()[1], top=1.12 * left.above.get_ylim()[1])
    if objectives:
        left.below.set_yscale("log")
        left.below.set_ylim(top=1.3 * left.below.get_ylim()[1])
        plain_log_ticks(left.below)
    else:
        note(left.below, "the objective could not be computed yet", theme)
    figure.legend(
        handles=_verdict_legend(view, theme),
        loc="outside upper center",
        ncols=6,
        columnspacing=1.2,
        handletextpad=0.4,
    )
    return figure


def _first_feasible(view: LineageView) -> int | None:
    """The first iteration after which the incumbent passes every gate."""
    after = enumerate(view.incumbents)
    return next((number for number, incumbent in after if view.iterations[incumbent].feasible), None)


def _over_iterations(view: LineageView) -> _Along:
    xs, first = range(len(view.iterations)), _first_feasible(view)
    border = None if first is None else first - 0.5
    return _Along(xs, -0.5, max(len(xs) - 1, 1) + 0.5, border, 0.12, len(xs) <= _MAX_LABELLED)


def _over_hours(view: LineageView, spent: Spending) -> _Along:
    xs, first = spent.hours[view.lineage.number], _first_feasible(view)
    border = None if first is None else xs[first] if first else 0.0
    return _Along(xs, 0.0, 1.06 * spent.largest or 1.0, border, 0.02 * spent.largest, labelled=False)


def _shade_phases(axes: Axes, along: _Along, theme: Theme) -> None:
    """Mark where the incumbent still fails a gate: there the violation decides."""
    border = along.end if along.border is None else along.border
    if border > along.start:
        axes.axvspan(along.start, border, color=theme.failing, lw=0, zorder=0)
    if along.start < border < along.end:
        axes.axvline(border, color=theme.muted, lw=0.8, ls=(0, (4, 3)), zorder=1)


def _draw_measure(
    axes: Axes, view: LineageView, values: dict[int, list[float]], along: _Along, theme: Theme
) -> None:
    """One measure of every candidate: a dash for each seed, the mean with its deviation, the incumbent."""
    shown = [(x, values[i]) for x, i in zip(along.xs, view.incumbents, strict=True) if i in values]
    if shown:
        steps = [(float(x), mean(found)) for x, found in shown]
        steps.append((along.end, steps[-1][1]))
        xs, ys = zip(*steps, strict=True)
        axes.step(xs, ys, where="post", color=theme.incumbent, lw=1.2, alpha=0.7, zorder=2)
    for iteration, x in zip(view.iterations, along.xs, strict=True):
        found = values.get(iteration.number)
        if found:
            _draw_candidate(axes, iteration, found, x, along.apart, theme)
            if along.labelled:
                axes.annotate(
                    number(mean(found)),
                    (x, max(found)),
                    xytext=(5, 7),
                    textcoords="offset points",
                    ha="left",
                    fontsize=8.5,
                    color=theme.ink,
                )
        else:
            axes.plot(
                *(x, 0.9), "x", color=theme.muted, ms=7, mew=1.8, transform=axes.get_xaxis_transform()
            )  # fmt: skip


def _draw_candidate(
    axes: Axes, iteration: IterationView, values: Sequence[float], x: float, apart: float, theme: Theme
) -> None:
    """The shape tells the verdict; a mark is filled when every gate holds."""
    color, marker = _mark(iteration, theme)
    spread = standard_deviation(values) or 0.0
    axes.errorbar(
        [x], [mean(values)], yerr=[spread], fmt=marker, ms=8, color=color, mew=1.5,
        mfc=color if iteration.feasible else theme.paper, elinewidth=1.3, capsize=3, zorder=4,
    )  # fmt: skip
    axes.plot([x + apart] * len(values), values, "_", color=color, ms=6, mew=1.2, alpha=0.8, zorder=3)


def _mark(iteration: IterationView, theme: Theme) -> tuple[str, str]:
    """Colour and shape by verdict."""
    if iteration.number == 0:
        return theme.baseline, "D"
    return {"accepted": (theme.incumbent, "o"), "reverted": (theme.reverted, "v")}.get(
        iteration.status, (theme.muted, "s")
    )


def _verdict_legend(view: LineageView, theme: Theme) -> list[Artist]:
    def entry(label: str, color: str, marker: str, fill: str) -> Line2D:
        return Line2D([], [], color=color, marker=marker, ls="", ms=7, mew=1.5, mfc=fill, label=label)

    statuses = {iteration.status for iteration in view.iterations[1:]}
    first = theme.baseline if view.iterations[0].feasible else theme.paper
    entries: list[Artist] = [entry("baseline", theme.baseline, "D", first)]
    if "accepted" in statuses:
        entries.append(entry("accepted", theme.incumbent, "o", theme.incumbent))
    if "reverted" in statuses:
        entries.append(entry("reverted", theme.reverted, "v", theme.reverted))
    if not all(i.scores for i in view.iterations):
        entries.append(entry("not measured", theme.muted, "x", theme.muted))
    entries.append(Line2D([], [], color=theme.incumbent, lw=1.4, label="incumbent"))
    if any(not view.iterations[number].feasible for number in view.incumbents):
        entries.append(Patch(color=theme.failing, label="incumbent fails gates"))
    return entries
