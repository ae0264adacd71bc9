"""Progress over iterations: total gate violation and objective of every candidate."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from mlipilot.controller.accept import mean
from mlipilot.report.figures.style import MissingDataError, Theme, measures_figure, note, plain_log_ticks
from mlipilot.report.text import number, standard_deviation
from mlipilot.report.view import IterationView, LineageView

_MAX_LABELLED = 12
"""With more iterations, numbers beside the marks would overlap."""


def progress_figure(view: LineageView, theme: Theme) -> Figure:
    """Violation (above), objective (below) over iterations, with every verdict. Raises MissingDataError."""
    if not any(iteration.scores for iteration in view.iterations):
        raise MissingDataError("no candidate has been measured yet")
    last = max(len(view.iterations) - 1, 1)
    figure, above, below = measures_figure(5.4, last)
    for axes in (above, below):
        _shade_phases(axes, view, last, theme)
    violations = {i.number: i.violations for i in view.iterations if i.scores}
    objectives = {i.number: i.objectives for i in view.iterations if i.log_objectives}
    _draw_measure(above, view, violations, theme)
    _draw_measure(below, view, objectives, theme)
    above.set_ylim(bottom=-0.06 * above.get_ylim()[1], top=1.12 * above.get_ylim()[1])
    if objectives:
        below.set_yscale("log")
        below.set_ylim(top=1.3 * below.get_ylim()[1])
        plain_log_ticks(below)
    else:
        note(below, "the objective could not be computed yet", theme)
    figure.legend(
        handles=_verdict_legend(view, theme),
        loc="outside upper center",
        ncols=6,
        columnspacing=1.2,
        handletextpad=0.4,
    )
    return figure


def _shade_phases(axes: Axes, view: LineageView, last: int, theme: Theme) -> None:
    """Mark the iterations after which the incumbent still fails a gate: there the violation decides."""
    failing = [not view.iterations[number].feasible for number in view.incumbents]
    border = next((i for i, fails in enumerate(failing) if not fails), len(failing)) - 0.5
    if border > -0.5:
        axes.axvspan(-0.5, min(border, last + 0.5), color=theme.failing, lw=0, zorder=0)
    if -0.5 < border < last + 0.5:
        axes.axvline(border, color=theme.muted, lw=0.8, ls=(0, (4, 3)), zorder=1)


def _draw_measure(axes: Axes, view: LineageView, values: dict[int, list[float]], theme: Theme) -> None:
    """One measure of every candidate: a dash for each seed, the mean with its deviation, the incumbent."""
    shown = [(number, values[i]) for number, i in enumerate(view.incumbents) if i in values]
    if shown:
        steps = [(float(x), mean(found)) for x, found in shown]
        steps.append((len(view.iterations) - 0.5, steps[-1][1]))
        xs, ys = zip(*steps, strict=True)
        axes.step(xs, ys, where="post", color=theme.incumbent, lw=1.2, alpha=0.7, zorder=2)
    for iteration in view.iterations:
        found = values.get(iteration.number)
        if found:
            _draw_candidate(axes, iteration, found, theme)
            if len(view.iterations) <= _MAX_LABELLED:
                axes.annotate(
                    number(mean(found)),
                    (iteration.number, max(found)),
                    xytext=(5, 7),
                    textcoords="offset points",
                    ha="left",
                    fontsize=8.5,
                    color=theme.ink,
                )
        else:
            axes.plot(
                *(iteration.number, 0.9), "x", color=theme.muted, ms=7, mew=1.8,
                transform=axes.get_xaxis_transform(),
            )  # fmt: skip


def _draw_candidate(axes: Axes, iteration: IterationView, values: Sequence[float], theme: Theme) -> None:
    """The shape tells the verdict; a mark is filled when every gate holds."""
    color, marker = _mark(iteration, theme)
    spread = standard_deviation(values) or 0.0
    axes.errorbar(
        [iteration.number], [mean(values)], yerr=[spread], fmt=marker, ms=8, color=color, mew=1.5,
        mfc=color if iteration.feasible else theme.paper, elinewidth=1.3, capsize=3, zorder=4,
    )  # fmt: skip
    beside = [iteration.number + 0.12] * len(values)
    axes.plot(beside, values, "_", color=color, ms=6, mew=1.2, alpha=0.8, zorder=3)


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
