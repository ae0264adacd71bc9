"""Training curves, as the jobs printed them."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mlipilot.controller.accept import mean
from mlipilot.report.figures.style import (
    MissingDataError,
    Theme,
    decimal_log_axis,
    label_ends,
    new_figure,
    plain_log_ticks,
)
from mlipilot.report.view import IterationView, LineageView

_MAX_LABELLED = 10
"""With more iterations, only the accepted ones are numbered."""


def training_figure(view: LineageView, theme: Theme) -> Figure:
    """Training loss, validation force error over optimiser steps, a line a seed. Raises MissingDataError."""
    drawn = [i for i in view.iterations if any(seed.curve.train_loss.steps for seed in i.seeds)]
    if not drawn:
        raise MissingDataError("no training has printed its progress yet")
    figure = new_figure(3.9)
    left, right = figure.subplots(1, 2)
    for iteration in drawn:
        color, style, width = _line_style(view, iteration, theme)
        for seed in iteration.seeds:
            loss, force = seed.curve.train_loss, seed.curve.valid_force_mae_mev_per_a
            left.plot(loss.steps, loss.values, color=color, ls=style, lw=width, alpha=0.8)
            right.plot(
                force.steps, force.values, color=color, ls=style, lw=width, marker=".", ms=3, alpha=0.9
            )
    left.set_title("Training loss")
    left.set_ylabel("loss (units of each recipe)")
    right.set_title("Force error on validation data")
    right.set_ylabel("MAE (meV/Å)")
    for axes in (left, right):
        axes.set_yscale("log")
        axes.set_xlabel("optimiser step, as the recipe counts")
        axes.grid()
        axes.set_xlim(left=0)
    _label_ends(right, drawn, view, theme)
    decimal_log_axis(left.yaxis)
    plain_log_ticks(right)
    figure.legend(handles=_training_legend(view, drawn, theme), loc="outside upper center", ncols=5)
    return figure


def _line_style(view: LineageView, iteration: IterationView, theme: Theme) -> tuple[str, str, float]:
    if iteration.number == 0:
        return theme.baseline, "-", 1.6
    if iteration.number == view.state.incumbent:
        return theme.incumbent, "-", 1.8
    return {
        "accepted": (theme.incumbent, "--", 1.1),
        "reverted": (theme.reverted, "--", 1.1),
    }.get(iteration.status, (theme.muted, ":", 1.3))


def _label_ends(axes: Axes, drawn: list[IterationView], view: LineageView, theme: Theme) -> None:
    """The iteration's number at the end of its lines."""
    few = len(drawn) <= _MAX_LABELLED
    ends = []
    for iteration in [i for i in drawn if few or i.status == "accepted"]:
        lines = [seed.curve.valid_force_mae_mev_per_a for seed in iteration.seeds]
        points = [(line.steps[-1], math.log10(line.values[-1])) for line in lines if line.steps]
        if points:
            x, y = max(x for x, _ in points), 10 ** mean([y for _, y in points])
            ends.append((y, x, str(iteration.number), _line_style(view, iteration, theme)[0]))
    label_ends(axes, ends)


def _training_legend(view: LineageView, drawn: list[IterationView], theme: Theme) -> list[Line2D]:
    labels: dict[str, tuple[str, str, float]] = {}
    for iteration in drawn:
        if iteration.number == 0:
            label = "0: baseline"
        elif iteration.number == view.state.incumbent:
            label = f"{iteration.number}: incumbent"
        else:
            label = iteration.status
        labels.setdefault(label, _line_style(view, iteration, theme))
    return [
        Line2D([], [], color=color, ls=style, lw=width, label=label)
        for label, (color, style, width) in labels.items()
    ]
