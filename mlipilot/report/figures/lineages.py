"""Convergence of all lineages on common axes: over iterations, and over hours of jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mlipilot.controller.accept import mean
from mlipilot.report.figures.hours_spent import Spending, spending
from mlipilot.report.figures.style import (
    MissingDataError,
    Panels,
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


LineEnd = tuple[float, float, str, str]
"""y, x, text and colour."""


class Track(NamedTuple):
    """Where a lineage's iterations stand on a horizontal axis, and where its line ends."""

    xs: Sequence[float]
    end: float


def lineages_figure(run: RunView, theme: Theme) -> Figure:
    """Gate violation (above) and objective (below) of each lineage, over iterations and over hours.

    A line a lineage for its incumbent; dots are its other candidates. Raises MissingDataError before one is
    measured.
    """
    drawn = [view for view in run.lineages if incumbent_scores(view)]
    if not drawn:
        raise MissingDataError("no lineage has a measured incumbent yet")
    last, spent = max(len(view.iterations) - 1 for view in drawn), spending(drawn)
    figure, left, right = measures_figure(
        5.0 + 0.22 * (len(drawn) + 3) / _COLUMNS, last, spent.largest, spent.unit
    )
    for panels, tracks in ((left, _over_iterations(drawn)), (right, _over_hours(drawn, spent))):
        ends = [
            _draw(axes, drawn, run, theme, tracks, of)
            for axes, of in zip(panels, (_violations, _objectives), strict=True)
        ]
        if panels is left:
            _scale(panels, ends, theme)
    figure.legend(handles=_legend(drawn, run, theme), loc="outside upper center", ncols=_COLUMNS)
    return figure


def _scale(panels: Panels, ends: Sequence[Sequence[LineEnd]], theme: Theme) -> None:
    """Limits and scales, which the panels beside share, and each line's number at its end."""
    panels.above.set_ylim(bottom=-0.06 * panels.above.get_ylim()[1])
    if ends[1]:
        panels.below.set_yscale("log")
        plain_log_ticks(panels.below)
    else:
        note(panels.below, "the objective could not be computed yet", theme)
    for axes, found in zip(panels, ends, strict=True):
        label_ends(axes, found, theme.paper)


def _violations(iteration: IterationView) -> list[float]:
    return iteration.violations


def _objectives(iteration: IterationView) -> list[float]:
    return iteration.objectives


def _over_iterations(drawn: Sequence[LineageView]) -> dict[int, Track]:
    """Lines are set a little apart, which in hours they are by themselves."""
    step = min(0.08, 0.5 / len(drawn))
    shifts = [step * (place - (len(drawn) - 1) / 2) for place in range(len(drawn))]
    return {
        view.lineage.number: Track([i.number + shift for i in view.iterations], len(view.iterations) - 0.65)
        for view, shift in zip(drawn, shifts, strict=True)
    }


def _over_hours(drawn: Sequence[LineageView], spent: Spending) -> dict[int, Track]:
    return {
        view.lineage.number: Track(
            hours := spent.hours[view.lineage.number], hours[-1] + 0.02 * spent.largest
        )
        for view in drawn
    }


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
    tracks: Mapping[int, Track],
    values: Callable[[IterationView], list[float]],
) -> list[LineEnd]:
    """One measure of all lineages; returns each line's end for its label."""
    ends = []
    for view in drawn:
        track, style = tracks[view.lineage.number], _style(run, view, theme)
        _draw_others(axes, view, track, style[0], values)
        points = [
            (x, view.iterations[incumbent], incumbent == iteration.number)
            for x, iteration, incumbent in zip(track.xs, view.iterations, view.incumbents, strict=True)
            if iteration.status != "running" and values(view.iterations[incumbent])
        ]
        if not points:
            continue
        color, marker, width = style
        xs = [x for x, _, _ in points]
        ys = [mean(values(incumbent)) for _, incumbent, _ in points]
        axes.step([*xs, track.end], [*ys, ys[-1]], where="post", color=color, lw=width, zorder=2)
        for x, incumbent, is_new in points:
            if is_new:
                found = values(incumbent)
                axes.errorbar(
                    [x], [mean(found)], yerr=[standard_deviation(found) or 0.0], fmt=marker, ms=7, mew=1.5,
                    color=color, mfc=color if incumbent.feasible else theme.paper, elinewidth=1.2, capsize=3,
                    zorder=4,
                )  # fmt: skip
        ends.append((ys[-1], track.end, str(view.lineage.number), color))
    return ends


def _draw_others(
    axes: Axes, view: LineageView, track: Track, color: str, values: Callable[[IterationView], list[float]]
) -> None:
    """The candidates that were not kept."""
    kept = set(view.incumbents)
    others = [(x, values(i)) for x, i in zip(track.xs, view.iterations, strict=True) if i.number not in kept]
    points = [(x, mean(found)) for x, found in others if found]
    axes.plot([x for x, _ in points], [y for _, y in points], ".", color=color, ms=5, alpha=0.7, zorder=3)


def _legend(drawn: Sequence[LineageView], run: RunView, theme: Theme) -> list[Line2D]:
    entries = []
    for view in drawn:
        color, marker, width = _style(run, view, theme)
        name = f"{view.lineage.number}: {clip(pilot_name(view), _MAX_NAME)}"
        name += ", the best" if view is run.best else ""
        entries.append(
            Line2D([], [], color=color, marker=marker, lw=width, ms=6, mfc=theme.paper, mew=1.5, label=name)
        )
    entries.append(Line2D([], [], color=theme.muted, marker=".", ls="", ms=5, label="not kept"))
    for label, fill in (("passes every gate", theme.muted), ("fails gates", theme.paper)):
        entries.append(Line2D([], [], color=theme.muted, marker="o", ls="", ms=6, mfc=fill, label=label))
    return entries
