"""The report's figures: each drawn for light and for dark pages, or a word on what it lacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.figure import Figure

from mlipilot.evaluation.catalog import panels_of
from mlipilot.evaluation.panels import Figure as Declared
from mlipilot.evaluation.panels import Panel
from mlipilot.report.figures.calibration import calibration_figure, examined_areas
from mlipilot.report.figures.declared import declared_figure
from mlipilot.report.figures.gates import gates_figure
from mlipilot.report.figures.lineages import lineages_figure
from mlipilot.report.figures.progress import progress_figure
from mlipilot.report.figures.style import DARK, LIGHT, MissingDataError, Theme, render
from mlipilot.report.figures.training import training_figure
from mlipilot.report.figures.verdicts import verdicts_figure
from mlipilot.report.ranking import RunView
from mlipilot.report.text import upper_first
from mlipilot.report.view import LineageView


@dataclass(frozen=True)
class Picture:
    """One figure of the report."""

    name: str
    title: str
    caption: str
    light: bytes = b""
    """PNG for light pages; empty when the figure could not be drawn."""
    dark: bytes = b""
    missing: str = ""
    """Why it could not be drawn."""


_PROGRESS = (
    "progress",
    "Convergence",
    "Total gate violation and objective of every candidate, over iterations (left) and over what the jobs of "
    "the search had taken (right): mean over seeds, bars of one standard deviation, a dash for each seed. "
    "Filled marks pass every gate, hollow ones fail some. While the incumbent fails gates (shaded), the "
    "violation decides; after that, the objective.",
)
_LINEAGES = (
    "lineages",
    "Convergence of all lineages",
    "Each lineage's incumbent, over iterations (left, lines a little apart) and over what the jobs of its "
    "search had taken (right): mean over its training seeds, bars of one standard deviation where a new "
    "incumbent was accepted; dots are candidates that were not kept. Filled marks pass every gate, hollow "
    "ones fail some: until then the violation decides, after that the objective.",
)
_VERDICTS = (
    "verdicts",
    "Verdicts by pilot and iteration",
    "The verdict on every hypothesis, a row a lineage (pilot · number, ★ the best), and how many there are "
    "of each, together in the last line. A frame: fresh seeds confirmed the step by itself.",
)
_GATES = (
    "gates",
    "Gates before and after",
    "Each gated metric relative to its bound, on a logarithmic axis; right of 1 the gate fails. "
    "Marks are means over seeds, bands their range, arrows lead from the baseline to the incumbent. "
    "A gate holds only if it holds on every seed.",
)
_TRAINING = (
    "training",
    "Training",
    "As the recipes print them, one line a seed; numbers at the lines' ends name the iteration. "
    "Losses are comparable only between recipes with the same loss; the force error always is.",
)
_CALIBRATION = (
    "calibration",
    "Calibration of the committee",
    "The fresh seeds of the model that stands. Left: the share of true force components within each central "
    "interval of Student's distribution around the members' mean; on the line as many as should be, below "
    "it the committee is too sure. The area between line and diagonal is the table's. Right: error over "
    "spread in the bins of ENCE, tenths of the atoms by their spread, root mean squares; above the line the "
    "committee is too sure, and a line that does not rise says nothing of where the errors are.",
)


def draw_all(view: LineageView) -> list[Picture]:
    """Every figure of a lineage's report, in order: how the campaign went, then what the models do.

    That of the committee only where one was examined.
    """
    declared = [
        _picture(figure.name, figure.title, _caption(figure, panels), partial(declared_figure, view, panels))
        for figure, panels in panels_of(view.card.settings.system).items()
    ]
    committee = [_picture(*_CALIBRATION, partial(calibration_figure, view))] if examined_areas(view) else []
    return [
        _picture(*_PROGRESS, partial(progress_figure, view)),
        _picture(*_GATES, partial(gates_figure, view)),
        *committee,
        *declared,
        _picture(*_TRAINING, partial(training_figure, view)),
    ]


def _caption(figure: Declared, panels: Sequence[Panel]) -> str:
    """What each panel has to say, from left to right, and the figure's remark."""
    said = [panel.caption for panel in panels if panel.caption]
    if len(said) > 1:
        sides = ["Left", *["Then"] * (len(said) - 2), "Right"]
        said = [f"{side}: {caption}" for side, caption in zip(sides, said, strict=True)]
    return upper_first(" ".join([*said, figure.remark]).strip())


def draw_run(run: RunView) -> list[Picture]:
    """The figures of all lineages of a run."""
    return [
        _picture(*_LINEAGES, partial(lineages_figure, run)),
        _picture(*_VERDICTS, partial(verdicts_figure, run)),
    ]


def _picture(name: str, title: str, caption: str, draw: Callable[[Theme], Figure]) -> Picture:
    try:
        light, dark = (render(draw, theme) for theme in (LIGHT, DARK))
    except MissingDataError as error:
        return Picture(name, title, caption, missing=str(error))
    return Picture(name, title, caption, light, dark)
