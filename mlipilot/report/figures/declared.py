"""The figures that the files of metrics declare, from the evaluator's `curves.npz`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mlipilot.evaluation.curves_file import read_curves
from mlipilot.evaluation.panels import Lines, Panel, Parity
from mlipilot.report.figures.style import MissingDataError, Theme, new_figure, note
from mlipilot.report.text import number
from mlipilot.report.view import IterationView, LineageView

Array = NDArray[np.float64]
Curves = Mapping[str, Array]
Pair = tuple[Array, Array]
"""Reference and model values, flat."""
Limits = tuple[float, float]
_MAX_POINTS = 20_000
_FEW_LINES = 4  # more lie over one another, as those of molecules that start several times


class _Candidate(NamedTuple):
    name: str
    color: str
    style: str
    curves: Curves


def declared_figure(view: LineageView, panels: Sequence[Panel], theme: Theme) -> Figure:
    """Baseline and incumbent in panels side by side; a row for each where all panels are of parity.

    Raises MissingDataError where no evaluation has left anything for any of them.
    """
    candidates = _candidates(view, theme)
    left = [[one for one in candidates if _is_left(panel, one.curves)] for panel in panels]
    if not any(left):
        raise MissingDataError("no evaluation has left what it shows yet")
    parities = [panel for panel in panels if isinstance(panel, Parity)]
    if len(parities) == len(panels):
        return _parity_figure(candidates, parities, theme)
    figure = new_figure(3.7)
    every = list(figure.subplots(1, len(panels), squeeze=False)[0])
    settings = view.card.settings
    truth = settings.crystal.reference.upper() if settings.system == "crystal" else "reference"
    for axes, panel, drawn in zip(every, panels, left, strict=True):
        axes.set_title(panel.title)
        axes.grid()
        if not drawn:
            note(axes, "missing", theme)
        elif isinstance(panel, Lines):
            _draw_lines(axes, panel, drawn, truth, theme)
        elif isinstance(panel, Parity):
            _draw_marks(axes, panel, drawn, theme)
    legends = [axes.get_legend_handles_labels() for axes in every]
    handles, labels = next((legend for legend in legends if legend[0]), ([], []))
    figure.legend(handles, labels, loc="outside upper center", ncols=3)
    return figure


def first_curves(iteration: IterationView | None) -> tuple[int, Curves] | None:
    """The first seed that has curves, and its arrays by name; None when there are none to read."""
    for seed in iteration.seeds if iteration is not None else []:
        found: dict[str, Array] = {}
        for path in seed.curves_files:
            with suppress(OSError, ValueError):  # missing, torn or not numbers
                found = {**read_curves(path), **found}  # of names that both have, those on the test split
        if found:
            return seed.seed, found
    return None


def _candidates(view: LineageView, theme: Theme) -> list[_Candidate]:
    """The baseline and, if there is another, the incumbent, where they have left curves."""
    wanted = [("baseline", view.baseline, theme.baseline, "--")]
    if view.improved:
        name = f"incumbent (iteration {view.state.incumbent})"
        wanted.append((name, view.incumbent, theme.incumbent, "-"))
    found = [(name, color, style, first_curves(iteration)) for name, iteration, color, style in wanted]
    return [_Candidate(f"{name}, seed {f[0]}", color, style, f[1]) for name, color, style, f in found if f]


def _is_left(panel: Panel, curves: Curves) -> bool:
    if isinstance(panel, Lines):
        return bool(_lines(panel, curves))
    return isinstance(panel, Parity) and _pair(panel, curves) is not None


def _lines(panel: Lines, curves: Curves) -> list[tuple[str, list[Array]]]:
    """Tag, x and values of each line, of the reference, too, where the panel has one; at least two points."""
    names = re.compile(re.escape(panel.arrays[1]).replace(r"\*", "(.+)"))
    found = []
    for match in filter(None, map(names.fullmatch, sorted(curves))):
        which = "".join(match.groups())
        x, *values = (curves.get(name.replace("*", which)) for name in panel.arrays)
        if not panel.arrays[0]:
            x = np.linspace(0, 1, curves[match[0]].size)
        if x is not None and x.ndim == 1 and x.size > 1:
            whole = [
                value / panel.divisor for value in values if value is not None and value.shape == x.shape
            ]
            if len(whole) == len(values):
                found.append((panel.tag(which), [x, *whole]))
    return found


def _pair(panel: Parity, curves: Curves, prefix: str = "") -> Pair | None:
    """Finite values only, thinned; None where there are none."""
    true, found = (curves.get(prefix + name) for name in panel.arrays)
    if true is None or found is None or true.shape != found.shape:
        return None
    keep = np.isfinite(true) & np.isfinite(found)
    true, found = true[keep], found[keep]
    stride = max(1, -(-true.size // _MAX_POINTS))
    return (true[::stride], found[::stride]) if true.size else None


def _reference_limits(references: Sequence[Array]) -> Limits:
    """Of an axis: the references' range and a quarter more. A model's values beyond are drawn on the edge."""
    low, high = (float(end(np.concatenate(references))) for end in (np.min, np.max))
    margin = 0.25 * (high - low) or 1e-3
    return low - margin, high + margin


def _draw_lines(axes: Axes, panel: Lines, candidates: Sequence[_Candidate], truth: str, theme: Theme) -> None:
    axes.set(xlabel=panel.labels[0], ylabel=panel.labels[1])
    drawn = [(candidate, _lines(panel, candidate.curves)) for candidate in candidates]
    known = [(arrays[0], arrays[2]) for _, arrays in drawn[0][1] if len(arrays) > 2]
    for index, (x, reference) in enumerate(known):
        axes.plot(x, reference, color=theme.ink, lw=3.2, alpha=0.3, label=None if index else truth)
    for (name, color, style, _), lines in drawn:
        width, alpha = (1.4, 1.0) if known else (1.1, 0.9) if len(lines) <= _FEW_LINES else (0.5, 0.5)
        for index, (tag, (x, model, *_)) in enumerate(lines):
            label = None if index else name
            axes.plot(x, model, label=label, color=color, ls=style, lw=width, alpha=alpha)
            if len({tag for tag, _ in lines}) > 1:
                axes.annotate(tag, (x[-1], model[-1]), fontsize=8, color=color)
    if known and panel.shown == "positive":
        x, reference = known[0]
        axes.set_xlim(left=max(0.0, float(x[np.argmax(reference > 0.01)]) - 0.5))
        axes.set_ylim(bottom=0)
    elif known and panel.shown == "reference":
        axes.set_ylim(_reference_limits([reference for _, reference in known]))
    bounds = {float(bound) for candidate in candidates for bound in candidate.curves.get(panel.bound, [])}
    for bound in bounds:
        axes.axhline(bound, color=theme.muted, lw=0.9)
        axes.set_ylim(0, 1.5 * max(bounds))
    tags = {tag for _, lines in drawn for tag, _ in lines} - {""}
    if len(tags) == 1:
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 0.12 * (high - low))  # for the note
        note(axes, tags.pop(), theme)


def _draw_marks(axes: Axes, panel: Parity, candidates: Sequence[_Candidate], theme: Theme) -> None:
    axes.set(xlabel=f"reference ({panel.unit})", ylabel=f"model ({panel.unit})")
    found = [(one, pair) for one in candidates if (pair := _pair(panel, one.curves))]
    limits = _reference_limits([true for _, (true, _) in found])
    scale, unit = _error_scale(panel)
    said = []
    for (name, color, *_), (true, model) in found:
        shown = np.clip(model, *limits)
        axes.plot(true, shown, ".", color=color, ms=7, alpha=0.8, mew=0, label=name, clip_on=False)
        said.append(
            f"{name.partition(',')[0]}: MAE {number(scale * float(np.abs(model - true).mean()))} {unit}"
        )
    axes.set_ylim(limits)
    axes.axline((0, 0), slope=1, color=theme.muted, lw=0.9, zorder=1)
    note(axes, "\n".join(said), theme)


def _error_scale(panel: Parity) -> tuple[float, str]:
    """What errors in the panel's unit are multiplied by, and the unit in which they are told then."""
    return (1000, f"m{panel.unit}") if panel.milli else (1, panel.unit)


def _parity_figure(candidates: Sequence[_Candidate], panels: Sequence[Parity], theme: Theme) -> Figure:
    """A column for each panel, with the distribution of errors; values on other data apart."""
    figure = new_figure(0.3 + 3.7 * len(candidates))
    grid = figure.subplots(len(candidates), len(panels), squeeze=False)
    for column, panel in zip(grid.T, panels, strict=True):
        pairs = [_pair(panel, one.curves) for one in candidates]
        apart = [_pair(panel, one.curves, panel.apart) if panel.apart else None for one in candidates]
        known = [pair for pair in pairs if pair]
        if not known:
            continue
        # of the histograms: the worse model's, unless the better one would be a single bar
        spreads = [float(np.percentile(np.abs(found - true), 99.0)) or 1e-12 for true, found in known]
        widest = max(spread for spread in spreads if spread <= 30 * min(spreads))
        limits = _reference_limits([pair[0] for pair in [*known, *apart] if pair])
        for axes, candidate, pair, other in zip(column, candidates, pairs, apart, strict=True):
            if pair:
                _draw_parity(axes, panel, pair, other, limits, candidate.color, theme)
                _draw_residuals(axes, panel, pair[1] - pair[0], candidate.color, widest)
    for axes, candidate in zip(grid[:, 0], candidates, strict=True):
        axes.set_title(candidate.name, color=candidate.color)
    return figure


def _draw_parity(
    axes: Axes, panel: Parity, pair: Pair, apart: Pair | None, limits: Limits, color: str, theme: Theme
) -> None:
    (true, found), (scale, unit) = pair, _error_scale(panel)
    axes.plot(limits, limits, color=theme.muted, lw=0.9, zorder=1)
    size, alpha = (3, 0.35) if true.size > 500 else (6, 0.7)
    axes.plot(true, np.clip(found, *limits), ".", color=color, ms=size, alpha=alpha, mew=0, zorder=3)
    axes.set(xlim=limits, ylim=limits, aspect="equal")
    axes.grid()
    axes.set_xlabel(f"{panel.title.lower()}, reference ({panel.unit})")
    axes.set_ylabel(f"{panel.title.lower()}, model ({panel.unit})")
    errors = scale * (found - true)
    mae, rmse = float(np.abs(errors).mean()), float(np.sqrt((errors**2).mean()))
    lines = [f"MAE {number(mae)} {unit}", f"RMSE {number(rmse)} {unit}"]
    if apart:
        x, y = apart[0], np.clip(apart[1], *limits)
        axes.plot(x, y, "o", color=theme.ink, ms=3, mfc="none", mew=0.6, alpha=0.4, zorder=2)
        mae = scale * float(np.abs(apart[1] - apart[0]).mean())
        lines.append(f"{panel.apart.strip('_')} (○) MAE {number(mae)}")
    beyond = float(np.mean((found < limits[0]) | (found > limits[1])))
    if beyond > 0:
        lines.append(f"{number(100 * beyond, 2)} % beyond the axis")
    note(axes, "\n".join(lines), theme)


def _draw_residuals(axes: Axes, panel: Parity, residuals: Array, color: str, widest: float) -> None:
    """A small histogram of errors on a scale that all candidates share."""
    scale, unit = _error_scale(panel)
    inset = axes.inset_axes((0.60, 0.10, 0.37, 0.24))
    edges = np.linspace(-widest, widest, 32) * scale
    inset.hist(np.clip(residuals * scale, edges[0], edges[-1]), bins=list(edges), color=color)
    inset.set_yticks([])
    inset.tick_params(axis="x", labelsize=7.5, length=2)
    inset.spines["left"].set_visible(False)
    inset.patch.set_alpha(0.85)
    inset.set_title(f"error ({unit})", fontsize=8, fontweight="normal", loc="center", pad=3)
