"""The models' figures from the evaluator's `curves.npz`: parity, dynamics of crystals and of molecules."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mlipilot.report.figures.style import MissingDataError, Theme, new_figure, note
from mlipilot.report.text import number
from mlipilot.report.view import IterationView, LineageView

Array = NDArray[np.float64]
Curves = Mapping[str, Array]
Pair = tuple[Array, Array]
"""Reference and model values, flat."""
_MAX_FILE_BYTES = 256 * 1024 * 1024
_MAX_POINTS = 20_000
_FEW_TRACES = 4  # more lie over one another, as those of molecules that start several times
_NVE = re.compile(r"nve_(?:(?P<start>\d+)_)?(?P<kelvin>\d+(?:\.\d+)?)k_time_ps")
_BONDS = re.compile(r"stability_\d+_time_ps")


def read_curves(iteration: IterationView | None) -> tuple[int, Curves] | None:
    """The first seed that has curves, and its arrays by name; None when there are none to read."""
    for seed in iteration.seeds if iteration is not None else []:
        path = seed.curves_file
        try:
            if path is None or path.stat().st_size > _MAX_FILE_BYTES:
                continue
            with np.load(path, allow_pickle=False) as arrays:
                return seed.seed, {name: np.asarray(arrays[name], dtype=float) for name in arrays.files}
        except (OSError, ValueError, zipfile.BadZipFile):
            continue  # missing, torn or not numbers
    return None


def candidate_curves(view: LineageView, theme: Theme) -> list[tuple[str, str, Curves]]:
    """Name, colour and curves of the baseline and, if there is another, the incumbent."""
    wanted = [("baseline", view.baseline, theme.baseline)]
    if view.improved:
        wanted.append((f"incumbent (iteration {view.state.incumbent})", view.incumbent, theme.incumbent))
    found = [(name, read_curves(iteration), color) for name, iteration, color in wanted]
    return [(f"{name}, seed {f[0]}", color, f[1]) for name, f, color in found if f is not None]


def parity_figure(view: LineageView, theme: Theme) -> Figure:
    """Model against labels on the test split: energies and force components, unseen molecules apart."""
    candidates = [c for c in candidate_curves(view, theme) if _pair(c[2], "energy") and _pair(c[2], "force")]
    if not candidates:
        raise MissingDataError("no evaluation has left its parity data yet")
    figure = new_figure(0.3 + 3.7 * len(candidates))
    grid = figure.subplots(len(candidates), 2, squeeze=False)
    for column, quantity in enumerate(("energy", "force")):
        pairs = [_pair(curves, quantity) for _, _, curves in candidates]
        unseen = [_pair(curves, quantity, "unseen_") for _, _, curves in candidates]
        widest = _widest([np.abs(pair[1] - pair[0]) for pair in pairs if pair])
        limits = reference_limits(np.concatenate([pair[0] for pair in [*pairs, *unseen] if pair]))
        for row, (name, color, curves) in enumerate(candidates):
            axes, pair = grid[row][column], _pair(curves, quantity)
            if pair:
                _draw_parity(axes, quantity, *pair, color, theme, limits, unseen[row])
                _draw_residuals(axes, quantity, pair[1] - pair[0], color, widest)
            if column == 0:
                axes.set_title(name, color=color)
    return figure


def _pair(curves: Curves, quantity: str, prefix: str = "") -> Pair | None:
    """Reference and model values of a quantity, finite ones only, thinned."""
    unit = {"energy": "ev_per_atom", "force": "ev_per_a"}[quantity]
    true, found = (curves.get(f"{prefix}{quantity}_{who}_{unit}") for who in ("reference", "model"))
    if true is None or found is None or true.shape != found.shape or not true.size:
        return None
    true, found = true.ravel(), found.ravel()
    keep = np.isfinite(true) & np.isfinite(found)
    true, found = true[keep], found[keep]
    stride = max(1, -(-true.size // _MAX_POINTS))
    return (true[::stride], found[::stride]) if true.size else None


def _widest(errors: list[Array]) -> float:
    """Half the width of the histograms: the worse model's, unless the better one would be a single bar."""
    spreads = [float(np.percentile(sizes, 99.0)) or 1e-12 for sizes in errors]
    return max(spread for spread in spreads if spread <= 30 * min(spreads))


def reference_limits(references: Array) -> tuple[float, float]:
    """Of an axis: the references' range and a quarter more. A model's values beyond are drawn on the edge."""
    low, high = float(references.min()), float(references.max())
    margin = 0.25 * (high - low) or 1e-3
    return low - margin, high + margin


def _draw_parity(
    axes: Axes,
    quantity: str,
    true: Array,
    found: Array,
    color: str,
    theme: Theme,
    limits: tuple[float, float],
    unseen: Pair | None,
) -> None:
    unit = {"energy": "eV/atom", "force": "eV/Å"}[quantity]
    axes.plot(limits, limits, color=theme.muted, lw=0.9, zorder=1)
    dense = true.size > 500
    if unseen:
        axes.plot(
            unseen[0],
            np.clip(unseen[1], *limits),
            "o",
            color=theme.ink,
            ms=3,
            mfc="none",
            mew=0.6,
            alpha=0.4,
            zorder=2,
        )
    size, alpha = (3, 0.35) if dense else (6, 0.7)
    axes.plot(true, np.clip(found, *limits), ".", color=color, ms=size, alpha=alpha, mew=0, zorder=3)
    axes.set(xlim=limits, ylim=limits, aspect="equal")
    axes.grid()
    what = "energy" if quantity == "energy" else "force component"
    axes.set_xlabel(f"{what}, reference ({unit})")
    axes.set_ylabel(f"{what}, model ({unit})")
    error = 1000 * (found - true)
    small = {"energy": "meV/atom", "force": "meV/Å"}[quantity]
    mae, rmse = float(np.abs(error).mean()), float(np.sqrt((error**2).mean()))
    lines = [f"MAE {number(mae)} {small}", f"RMSE {number(rmse)} {small}"]
    if unseen:
        lines.append(f"unseen (○) MAE {number(1000 * float(np.abs(unseen[1] - unseen[0]).mean()))}")
    beyond = float(np.mean((found < limits[0]) | (found > limits[1])))
    if beyond > 0:
        lines.append(f"{100 * beyond:.2g} % beyond the axis")
    note(axes, "\n".join(lines), theme)


def _draw_residuals(axes: Axes, quantity: str, residuals: Array, color: str, widest: float) -> None:
    """A small histogram of errors on a scale that all candidates share."""
    inset = axes.inset_axes((0.60, 0.10, 0.37, 0.24))
    edges = np.linspace(-widest, widest, 32) * 1000
    inset.hist(np.clip(residuals * 1000, edges[0], edges[-1]), bins=list(edges), color=color)
    inset.set_yticks([])
    inset.tick_params(axis="x", labelsize=7.5, length=2)
    inset.spines["left"].set_visible(False)
    inset.patch.set_alpha(0.85)
    unit = {"energy": "meV/atom", "force": "meV/Å"}[quantity]
    inset.set_title(f"error ({unit})", fontsize=8, fontweight="normal", loc="center", pad=3)


def dynamics_figure(view: LineageView, theme: Theme) -> Figure:
    """What a system's dynamics show at constant temperature, if anything; total energy at constant energy."""
    candidates = candidate_curves(view, theme)
    with_rdf = [c for c in candidates if {"rdf_distance_a", "rdf_model", "rdf_reference"} <= c[2].keys()]
    with_bonds = [c for c in candidates if _bond_changes(c[2])]
    with_nve = [c for c in candidates if _traces(c[2])]
    if not with_rdf and not with_bonds and not with_nve:
        raise MissingDataError("no evaluation has left its molecular dynamics yet")
    figure = new_figure(3.7)
    system = view.card.settings.system
    if system == "structures":
        (right,) = every = [figure.subplots()]
    else:
        left, right = every = list(figure.subplots(1, 2))
        if system == "molecules":
            _draw_bonds(left, with_bonds, theme)
        else:
            _draw_rdf(left, with_rdf, theme)
    _draw_nve(right, with_nve, theme)
    legends = [axes.get_legend_handles_labels() for axes in every]
    handles, labels = next((legend for legend in legends if legend[0]), ([], []))
    figure.legend(handles, labels, loc="outside upper center", ncols=3)
    return figure


def begun(axes: Axes, candidates: list[tuple[str, str, Curves]], theme: Theme) -> bool:
    """Whether there is something to draw; else the axes say that it is missing."""
    axes.grid()
    if not candidates:
        note(axes, "missing", theme)
    return bool(candidates)


def _draw_rdf(axes: Axes, candidates: list[tuple[str, str, Curves]], theme: Theme) -> None:
    axes.set(title="Radial distribution, NVT dynamics", xlabel="distance r (Å)", ylabel="g(r)")
    if not begun(axes, candidates, theme):
        return
    first = candidates[0][2]
    truth = first["rdf_reference"]
    axes.plot(first["rdf_distance_a"], truth, color=theme.ink, lw=3.2, alpha=0.3, label="EMT")
    for name, color, curves in candidates:
        style = "-" if name.startswith("incumbent") else "--"
        axes.plot(curves["rdf_distance_a"], curves["rdf_model"], color=color, lw=1.4, ls=style, label=name)
    occupied = np.nonzero(truth > 0.01)[0]
    if occupied.size:
        axes.set_xlim(left=max(0.0, float(first["rdf_distance_a"][occupied[0]]) - 0.5))
    axes.set_ylim(bottom=0)


def _bond_changes(curves: Curves) -> list[tuple[Array, Array]]:
    """Times (ps) and the largest change of a bond length (Å) of each molecule."""
    names = [name for name in curves if _BONDS.fullmatch(name)]
    pairs = [(curves[name], curves.get(name.replace("_time_ps", "_bond_change_a"))) for name in sorted(names)]
    return [(time, change) for time, change in pairs if change is not None and change.shape == time.shape]


def _draw_bonds(axes: Axes, candidates: list[tuple[str, str, Curves]], theme: Theme) -> None:
    axes.set(
        title="Largest change of a bond, NVT dynamics", xlabel="time (ps)", ylabel="change of length (Å)"
    )
    if not begun(axes, candidates, theme):
        return
    bounds = {float(bound) for _, _, curves in candidates for bound in curves.get("stability_bound_a", [])}
    for bound in sorted(bounds):
        axes.axhline(bound, color=theme.muted, lw=0.9)
    for name, color, curves in candidates:
        style = "-" if name.startswith("incumbent") else "--"
        for index, (time, change) in enumerate(_bond_changes(curves)):
            label = None if index else name
            axes.plot(time, change, color=color, lw=1.1, ls=style, alpha=0.8, label=label)
    axes.set_ylim(0, 1.5 * max(bounds, default=0.5))


def _traces(curves: Curves) -> list[tuple[float, Array, Array]]:
    """Temperature (K), times (ps) and total energies (meV/atom) of each trajectory, coldest first."""
    found: list[tuple[float, Array, Array]] = []
    for name in sorted(curves):
        match = _NVE.fullmatch(name)
        energy: Any = curves.get(name.replace("_time_ps", "_energy_mev_per_atom"))
        if match and energy is not None and energy.size > 1 and energy.shape == curves[name].shape:
            found.append((float(match["kelvin"]), curves[name], energy))
    return sorted(found, key=lambda trace: trace[0])


def _draw_nve(axes: Axes, candidates: list[tuple[str, str, Curves]], theme: Theme) -> None:
    axes.set(
        title="Total energy, NVE dynamics", xlabel="time (ps)", ylabel="change since the start (meV/atom)"
    )
    if not begun(axes, candidates, theme):
        return
    for name, color, curves in candidates:
        traces = _traces(curves)
        style = "-" if name.startswith("incumbent") else "--"
        width, alpha = (1.1, 0.9) if len(traces) <= _FEW_TRACES else (0.5, 0.5)
        for index, (kelvin, time, energy) in enumerate(traces):
            label = None if index else name
            axes.plot(time, energy, color=color, lw=width, ls=style, alpha=alpha, label=label)
            if len({trace[0] for trace in traces}) > 1:
                axes.annotate(f"{kelvin:g} K", (time[-1], energy[-1]), fontsize=8, color=color)
    kelvins = sorted({trace[0] for _, _, curves in candidates for trace in _traces(curves)})
    if len(kelvins) == 1:
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 0.12 * (high - low))  # for the note
        note(axes, f"{kelvins[0]:g} K", theme)
