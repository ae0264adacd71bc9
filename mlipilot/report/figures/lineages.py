"""The incumbents of all lineages over iterations, on common axes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mlipilot.controller.accept import mean
from mlipilot.report.figures.style import (
    MissingDataError,
    Theme,
    label_ends,
    measures_figure,
    note,
    plain_log_ticks,
)
from mlipilot.report.ranking import RunView, incumbent_scores
from mlipilot.report.summary import pilot_name
from mlipilot.report.text import standard_deviation
from mlipilot.report.view import IterationView, LineageView
from mlipilot.untrusted import clip

_MARKERS = "osD^vp>"  # with room inside; one more than there are colours, so that 42 lineages look different
_COLUMNS = 3
_MAX_NAME = 22


def lineages_figure(run: RunView, theme: Theme) -> Figure:
    """Gate violation (above) and objective (below) of each lineage's incumbent, one line a lineage.

    Raises MissingDataError before one is measured.
    """
    drawn = [view for view in run.lineages if incumbent_scores(view)]
    if not drawn:
        raise MissingDataError("no lineage has a measured incumbent yet")
    last = max(len(view.iterations) - 1 for view in drawn)
    figure, above, below = measures_figure(5.0 + 0.22 * (len(drawn) + 2) / _COLUMNS, last)
    ends_above = _draw(above, drawn, run, theme, lambda iteration: iteration.violations)
    above.set_ylim(bottom=-0.06 * above.get_ylim()[1])
    label_ends(above, ends_above, theme.paper)
    ends_below = _draw(below, drawn, run, theme, lambda iteration: iteration.objectives)
    if ends_below:
        below.set_yscale("log")
        plain_log_ticks(below)
        label_ends(below, ends_below, theme.paper)
    else:
        note(below, "the objective could not be computed yet", theme)
    figure.legend(handles=_legend(drawn, run, theme), loc="outside upper center", ncols=_COLUMNS)
    return figure


def _style(run: RunView, view: LineageView, theme: Theme) -> tuple[str, str, float]:
    """Colour, shape and width of a lineage's line, whichever others are drawn."""
    number = view.lineage.number
    color, marker = theme.series[number % len(theme.series)], _MARKERS[number % len(_MARKERS)]
    return color, marker, 2.4 if view is run.best else 1.2


def _draw(
    axes: Axes,
    drawn: Sequence[LineageView],
    run: RunView,
    theme: Theme,
    values: Callable[[IterationView], list[float]],
) -> list[tuple[float, float, str, str]]:
    """One measure of all lineages; returns each line's end for its label."""
    ends = []
    step = min(0.08, 0.5 / len(drawn))
    for place, view in enumerate(drawn):
        shift = step * (place - (len(drawn) - 1) / 2)
        points = [
            (iteration.number + shift, view.iterations[incumbent], incumbent == iteration.number)
            for iteration, incumbent in zip(view.iterations, view.incumbents, strict=True)
            if iteration.status != "running" and values(view.iterations[incumbent])
        ]
        if not points:
            continue
        color, marker, width = _style(run, view, theme)
        xs = [x for x, _, _ in points]
        ys = [mean(values(incumbent)) for _, incumbent, _ in points]
        end = round(xs[-1]) + 0.35
        axes.step([*xs, end], [*ys, ys[-1]], where="post", color=color, lw=width, zorder=2)
        for x, incumbent, is_new in points:
            if is_new:
                found = values(incumbent)
                axes.errorbar(
                    [x], [mean(found)], yerr=[standard_deviation(found) or 0.0], fmt=marker, ms=7, mew=1.5,
                    color=color, mfc=color if incumbent.feasible else theme.paper, elinewidth=1.2, capsize=3,
                    zorder=4,
                )  # fmt: skip
        ends.append((ys[-1], end, str(view.lineage.number), color))
    return ends


def _legend(drawn: Sequence[LineageView], run: RunView, theme: Theme) -> list[Line2D]:
    entries = []
    for view in drawn:
        color, marker, width = _style(run, view, theme)
        name = f"{view.lineage.number}: {clip(pilot_name(view), _MAX_NAME)}"
        name += ", the best" if view is run.best else ""
        entries.append(
            Line2D([], [], color=color, marker=marker, lw=width, ms=6, mfc=theme.paper, mew=1.5, label=name)
        )
    for label, fill in (("passes every gate", theme.muted), ("fails gates", theme.paper)):
        entries.append(Line2D([], [], color=theme.muted, marker="o", ls="", ms=6, mfc=fill, label=label))
    return entries
