"""What is known of reference molecules beside what the models say: energy scans and harmonic frequencies."""

from __future__ import annotations

import re

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mlipilot.report.figures.models import Array, Curves, begun, candidate_curves, reference_limits
from mlipilot.report.figures.style import MissingDataError, Theme, new_figure, note
from mlipilot.report.text import number
from mlipilot.report.view import LineageView

_SCAN = re.compile(r"scan_\d+_coordinate")
Candidate = tuple[str, str, Curves]


def molecules_figure(view: LineageView, theme: Theme) -> Figure:
    """Energy along the scans; frequencies of the model against the reference's."""
    candidates = candidate_curves(view, theme)
    scanned = [candidate for candidate in candidates if _scans(candidate[2])]
    vibrating = [candidate for candidate in candidates if _frequencies(candidate[2])]
    if not scanned and not vibrating:
        raise MissingDataError("no evaluation has left a molecule's properties yet")
    figure = new_figure(3.7)
    left, right = figure.subplots(1, 2)
    _draw_scans(left, scanned, theme)
    _draw_frequencies(right, vibrating, theme)
    handles, labels = (left if scanned else right).get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3)
    return figure


def _scans(curves: Curves) -> list[tuple[Array, Array, Array]]:
    """Place along the path (0 to 1), reference and model (eV above the lowest point) of each scan."""
    found = []
    for name in sorted(filter(_SCAN.fullmatch, curves)):
        profiles = [curves.get(name.replace("coordinate", f"{who}_mev")) for who in ("reference", "model")]
        true, model = profiles
        if true is not None and model is not None and true.size > 1 and true.shape == model.shape:
            found.append((np.linspace(0, 1, true.size), true / 1000, model / 1000))
    return found


def _frequencies(curves: Curves) -> tuple[Array, Array] | None:
    true, found = (curves.get(f"frequency_{who}_per_cm") for who in ("reference", "model"))
    if true is None or found is None or true.shape != found.shape or not true.size:
        return None
    return true, found


def _draw_scans(axes: Axes, candidates: list[Candidate], theme: Theme) -> None:
    axes.set(title="Energy along scans", xlabel="share of the path", ylabel="energy (eV)")
    if not begun(axes, candidates, theme):
        return
    known = _scans(candidates[0][2])
    for index, (place, true, _) in enumerate(known):
        label = None if index else "reference"
        axes.plot(place, true, color=theme.ink, lw=3.2, alpha=0.3, label=label)
    for name, color, curves in candidates:
        style = "-" if name.startswith("incumbent") else "--"
        for index, (place, _, model) in enumerate(_scans(curves)):
            axes.plot(place, model, color=color, lw=1.4, ls=style, label=None if index else name)
    axes.set_ylim(reference_limits(np.concatenate([true for _, true, _ in known])))


def _draw_frequencies(axes: Axes, candidates: list[Candidate], theme: Theme) -> None:
    axes.set(title="Harmonic frequencies", xlabel="reference (1/cm)", ylabel="model (1/cm)")
    if not begun(axes, candidates, theme):
        return
    found = [(name, color, pair) for name, color, curves in candidates if (pair := _frequencies(curves))]
    limits = reference_limits(np.concatenate([true for _, _, (true, _) in found]))
    errors = []
    for name, color, (true, model) in found:
        shown = np.clip(model, *limits)
        axes.plot(true, shown, ".", color=color, ms=7, alpha=0.8, mew=0, label=name, clip_on=False)
        errors.append(f"{name.partition(',')[0]}: MAE {number(float(np.abs(model - true).mean()))} 1/cm")
    axes.set_ylim(limits)
    axes.axline((0, 0), slope=1, color=theme.muted, lw=0.9, zorder=1)
    note(axes, "\n".join(errors), theme)
