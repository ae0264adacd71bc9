"""The accept/reject matrix: a row a lineage, a column an iteration, a cell by its verdict, with counts."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from mlipilot.report.figures.style import MissingDataError, Theme, new_figure
from mlipilot.report.ranking import RunView, by_pilot
from mlipilot.report.rows import SYMBOLS
from mlipilot.report.summary import pilot_name
from mlipilot.report.view import IterationView, LineageView, Status
from mlipilot.untrusted import clip

_COUNTED: tuple[Status, ...] = ("accepted", "reverted", "invalid", "no proposal")
_MAX_NAME = 22
_ROW_IN = 0.3
_ROOM_PT = 260.0
"""For the signs of a row, so that those of many iterations are smaller."""


def verdicts_figure(run: RunView, theme: Theme) -> Figure:
    """The verdict on every hypothesis of every lineage, lineages of one pilot beside one another.

    Raises MissingDataError before there is one.
    """
    views = [view for views in by_pilot(run.lineages) for view in views]
    last = max(len(view.iterations) - 1 for view in views)
    if last < 1:
        raise MissingDataError("no hypothesis has been proposed yet")
    figure = new_figure(1.4 + _ROW_IN * (len(views) + 1))
    cells, counts = figure.subplots(1, 2, sharey=True, width_ratios=(4, 1))
    for row, view in enumerate(views):
        for iteration in view.iterations[1:]:
            _draw_cell(cells, row, view, iteration, min(11.0, _ROOM_PT / last), theme)
    _draw_counts(counts, views, theme)
    cells.set_xlim(0.5, last + 0.5)
    cells.set_ylim(len(views) + 0.5, -1.0)
    cells.set_yticks(range(len(views)), [_name(run, view) for view in views])
    cells.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=15))
    cells.set_xlabel("iteration")
    counts.set_xlim(-0.5, len(_COUNTED) - 0.5)
    counts.set_xticks([])
    for axes in (cells, counts):
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    figure.legend(handles=_legend(views, theme), loc="outside upper center", ncols=6, handlelength=1.2)
    return figure


def _name(run: RunView, view: LineageView) -> str:
    best = " ★" if view is run.best else ""
    return f"{clip(pilot_name(view), _MAX_NAME)} · {view.lineage.number}{best}"


def _fill(status: Status, theme: Theme) -> str:
    fills = {"accepted": theme.incumbent, "reverted": theme.reverted, "invalid": theme.muted}
    return fills.get(status, theme.grid)


def _draw_cell(
    axes: Axes, row: int, view: LineageView, iteration: IterationView, size: float, theme: Theme
) -> None:
    """A filled cell with the verdict's sign; a frame around a step that fresh seeds confirmed."""
    place = (iteration.number - 0.46, row - 0.42)
    axes.add_patch(Rectangle(place, 0.92, 0.84, color=_fill(iteration.status, theme), lw=0, zorder=2))
    is_pale = iteration.status in ("no proposal", "running")
    axes.text(
        iteration.number, row, SYMBOLS[iteration.status], ha="center", va="center_baseline", fontsize=size,
        color=theme.ink if is_pale else theme.paper, zorder=3,
    )  # fmt: skip
    if iteration.number in view.confirmed_steps:
        axes.add_patch(Rectangle(place, 0.92, 0.84, fill=False, ec=theme.baseline, lw=2.2, zorder=4))


def _draw_counts(axes: Axes, views: Sequence[LineageView], theme: Theme) -> None:
    """Beside each row and below them all: how many of each verdict."""
    rows = [[i.status for i in view.iterations[1:]] for view in views]
    together = [status for row in rows for status in row]
    for x, status in enumerate(_COUNTED):
        axes.text(
            x, -0.75, SYMBOLS[status], ha="center", va="center_baseline", color=theme.muted, fontsize=11
        )
        for y, found in enumerate([*rows, together]):
            weight = "bold" if y == len(rows) else "normal"
            axes.text(
                *(x, y, str(found.count(status))), ha="center", va="center_baseline", fontweight=weight
            )  # fmt: skip


def _legend(views: Sequence[LineageView], theme: Theme) -> list[Patch]:
    found = {iteration.status for view in views for iteration in view.iterations[1:]}
    entries = [
        Patch(color=_fill(status, theme), label=f"{SYMBOLS[status]} {status}")
        for status in SYMBOLS
        if status in found
    ]
    if any(view.confirmed_steps for view in views):
        entries.append(Patch(fc="none", ec=theme.baseline, lw=2.2, label="confirmed by fresh seeds"))
    return entries
