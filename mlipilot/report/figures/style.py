"""How figures look, on light and on dark pages: one palette, safe for colour-blind eyes, and the PNG writer.

Colours are of Paul Tol's "high-contrast" and "medium-contrast" sets (technical note SRON/EPS/TN/09-002),
which differ in lightness, too, and of his "vibrant" and "light" sets; shapes and labels repeat what
colour says.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from PIL import Image

from mlipilot.report.text import number, power

WIDTH_IN = 8.0
"""Drawn at 100 pixels an inch on the page, so 800 pixels wide; the file has twice as many."""
_DPI = 200


class MissingDataError(Exception):
    """A figure cannot be drawn; the text says what is missing."""


@dataclass(frozen=True)
class Theme:
    """Colours of one page style."""

    name: str
    paper: str
    ink: str
    muted: str
    grid: str
    baseline: str
    incumbent: str
    reverted: str
    failing: str
    """Fill of the side of a bound where a gate fails."""
    series: tuple[str, ...]
    """For things that differ in name only."""


LIGHT = Theme(
    name="light",
    paper="#ffffff",
    ink="#1f2430",
    muted="#667080",
    grid="#e3e6eb",
    baseline="#c48a00",
    incumbent="#004488",
    reverted="#bb5566",
    failing="#f6e4e7",
    series=("#0077bb", "#ee7733", "#009988", "#ee3377", "#33bbee", "#cc3311"),
)
DARK = Theme(
    name="dark",
    paper="#161a21",
    ink="#e4e8ee",
    muted="#98a2b3",
    grid="#2b313c",
    baseline="#eecc66",
    incumbent="#6fa8e8",
    reverted="#ee99aa",
    failing="#3a2229",
    series=("#77aadd", "#ee8866", "#44bb99", "#ffaabb", "#99ddff", "#eedd88"),
)


def _settings(theme: Theme) -> dict[str, Any]:
    """Every setting from matplotlib's defaults, so that no user's matplotlibrc changes a picture."""
    return {
        **matplotlib.rcParamsDefault,
        "font.family": "DejaVu Sans",
        "font.size": 9.5,
        "text.color": theme.ink,
        "text.parse_math": False,
        "axes.edgecolor": theme.muted,
        "axes.facecolor": theme.paper,
        "axes.labelcolor": theme.ink,
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlepad": 8,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.formatter.use_mathtext": False,
        "axes.unicode_minus": True,
        "xtick.color": theme.muted,
        "ytick.color": theme.muted,
        "xtick.labelcolor": theme.ink,
        "ytick.labelcolor": theme.ink,
        "grid.color": theme.grid,
        "grid.linewidth": 0.8,
        "figure.facecolor": theme.paper,
        "legend.frameon": False,
        "legend.fontsize": 9,
        "lines.solid_capstyle": "round",
        "savefig.facecolor": theme.paper,
    }


@contextmanager
def _styled(theme: Theme) -> Iterator[None]:
    # The settings hold no backend: a backend, once chosen, stays as it is.
    settings = {key: value for key, value in _settings(theme).items() if key != "backend"}
    with matplotlib.rc_context(settings):
        yield


def render(draw: Callable[[Theme], Figure], theme: Theme) -> bytes:
    """The PNG of a figure; the same bytes each time, as it holds neither date nor version.

    Raises MissingDataError where `draw` does.
    """
    with _styled(theme):
        figure = draw(theme)
        figure.set_dpi(_DPI)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    return _small_png(image)


def _small_png(image: Image.Image) -> bytes:
    """A PNG with a palette of 256 colours: a third of the size, and nothing that an eye would miss."""
    paper = image.getpixel((0, 0))
    small = image.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    palette, index = small.getpalette() or [], small.getpixel((0, 0))
    assert isinstance(index, int) and isinstance(paper, tuple)  # noqa: S101 - of a palette and an RGB image
    palette[3 * index : 3 * index + 3] = paper  # the quantiser rounds; the page's own colour must be exact
    small.putpalette(palette)
    stream = io.BytesIO()
    small.save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def new_figure(height_in: float) -> Figure:
    """An empty figure of the report's width, laid out by itself."""
    return Figure(figsize=(WIDTH_IN, height_in), layout="constrained")


class Panels(NamedTuple):
    """Gate violation (above) and objective (below) over one thing: iterations, or hours of jobs."""

    above: Axes
    below: Axes


def measures_figure(height_in: float, last: int, hours: float, unit: str) -> tuple[Figure, Panels, Panels]:
    """A figure with two panels over iterations 0 to `last`, and beside them two over 0 to `hours`."""
    figure = new_figure(height_in)
    grid = figure.subplots(2, 2, sharex="col", sharey="row", width_ratios=(3, 2))
    left, right = Panels(*grid[:, 0]), Panels(*grid[:, 1])
    left.above.set_ylabel("total gate violation\n(ln units; 0: none)")
    left.below.set_ylabel("objective\n(no unit; lower is better)")
    for axes in (*left, *right):
        axes.grid(axis="y")
    left.below.set_xlim(-0.5, max(last, 1) + 0.5)
    left.below.set_xlabel("iteration (0: baseline)")
    left.below.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
    right.below.set_xlim(0.0, 1.06 * hours or 1.0)
    right.below.xaxis.set_major_locator(MaxNLocator(nbins=5))
    right.below.set_xlabel(f"{unit} spent on candidates")
    return figure, left, right


def note(axes: Axes, text: str, theme: Theme, **where: Any) -> None:
    """A small remark inside a panel."""
    settings: dict[str, Any] = {"x": 0.02, "y": 0.97, "ha": "left", "va": "top"} | where
    axes.text(s=text, transform=axes.transAxes, fontsize=8.5, color=theme.muted, linespacing=1.4, **settings)


def label_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]], halo: str | None = None) -> None:
    """A text in its colour right of each line's end (y, x, text, colour), pushed apart where they meet.

    The axes' scale and limits must stand. A colour for a `halo` keeps texts legible that lie on lines.
    """
    effects = [] if halo is None else [withStroke(linewidth=3, foreground=halo)]
    logarithmic = axes.get_yscale() == "log"
    low, high = (math.log10(edge) if logarithmic else edge for edge in axes.get_ylim())
    at = -math.inf
    for end, x, text, color in sorted(ends):
        at = max(math.log10(end) if logarithmic else end, at + 0.05 * (high - low))
        where = (x, 10**at if logarithmic else at)
        axes.annotate(
            text, where, xytext=(5, 0), textcoords="offset points", color=color, va="center", fontsize=9,
            path_effects=effects,
        )  # fmt: skip


def decimal_log_axis(axis: Any) -> None:
    """Labels of a logarithmic axis as plain numbers where they are short, else as powers of ten."""

    def label(value: float, _position: int) -> str:
        exponent = round(math.log10(value)) if value > 0 else 0
        bare = value > 0 and abs(exponent) > 3 and math.isclose(value, 10.0**exponent)
        return power(exponent) if bare else number(value, 1)

    axis.set_major_formatter(FuncFormatter(label))
    axis.set_minor_formatter(NullFormatter())


def plain_log_ticks(axes: Axes) -> None:
    """At least a few labelled ticks, whatever the range: plain numbers at 1, 2, 5."""
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    decimal_log_axis(axes.yaxis)
