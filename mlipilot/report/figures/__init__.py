"""The report's figures: each drawn for light and for dark pages, or a word on what it lacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from matplotlib.figure import Figure

from mlipilot.evaluation.catalog import System
from mlipilot.report.figures.gates import gates_figure
from mlipilot.report.figures.lineages import lineages_figure
from mlipilot.report.figures.models import dynamics_figure, parity_figure
from mlipilot.report.figures.molecules import molecules_figure
from mlipilot.report.figures.progress import progress_figure
from mlipilot.report.figures.style import DARK, LIGHT, MissingDataError, Theme, render
from mlipilot.report.figures.training import training_figure
from mlipilot.report.ranking import RunView
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


_FIGURES: dict[str, tuple[str, str, Callable[[LineageView, Theme], Figure]]] = {
    "progress": (
        "Progress",
        "Total gate violation and objective of every candidate: mean over seeds, bars of one standard "
        "deviation, a dash for each seed. Filled marks pass every gate, hollow ones fail some. While the "
        "incumbent fails gates (shaded), the violation decides; after that, the objective.",
        progress_figure,
    ),
    "gates": (
        "Gates before and after",
        "Each gated metric relative to its bound, on a logarithmic axis; right of 1 the gate fails. "
        "Marks are means over seeds, bands their range, arrows lead from the baseline to the incumbent. "
        "A gate holds only if it holds on every seed.",
        gates_figure,
    ),
    "parity": (
        "Energies and forces on the test split",
        "Model against reference for structures that no training has seen, with the distribution of errors "
        "on a scale that both models share; values beyond an axis lie on its edge. Open circles, if any: "
        "molecules that nothing was trained on.",
        parity_figure,
    ),
    "training": (
        "Training",
        "As the recipes print them, one line a seed; numbers at the lines' ends name the iteration. "
        "Losses are comparable only between recipes with the same loss; the force error always is.",
        training_figure,
    ),
    "dynamics": (
        "Molecular dynamics",
        "Left: radial distribution beside the reference's, from the same start and the same random forces. "
        "Right: total energy per atom without a thermostat; what matters is its slope.",
        dynamics_figure,
    ),
}

_DYNAMICS: dict[System, str] = {
    "structures": "Total energy per atom without a thermostat, a line for each start; what matters is its "
    "slope.",
    "molecules": "Left, a line for each molecule: the largest change of a bond length, with the bound beyond "
    "which it counts as broken. Right, a line for each start of each: total energy per atom without a "
    "thermostat; what matters is its slope.",
}
"""What the figure of the dynamics shows where there is no crystal."""

_MOLECULES = (
    "Properties of molecules",
    "Left: energy along bond and torsion scans, the models' profiles shifted to fit best. Right: harmonic "
    "frequencies at the relaxed geometries, imaginary ones negative. The axes are the reference's; profiles "
    "beyond leave them, frequencies beyond lie on their edge.",
)


def draw_all(view: LineageView) -> list[Picture]:
    """Every figure of a lineage's report, in order."""
    system = view.card.settings.system
    dynamics = _DYNAMICS.get(system)
    pictures = [
        _picture(name, title, (dynamics if name == "dynamics" else None) or caption, partial(draw, view))
        for name, (title, caption, draw) in _FIGURES.items()
    ]
    if system == "molecules":
        pictures.append(_picture("molecules", *_MOLECULES, partial(molecules_figure, view)))
    return pictures


def draw_lineages(run: RunView) -> Picture:
    """The figure of all lineages of a run."""
    caption = (
        "Each lineage's incumbent after every iteration: mean over its training seeds, bars of one standard "
        "deviation where a new incumbent was accepted. Filled marks pass every gate, hollow ones fail some: "
        "until then the violation decides, after that the objective. Lines are set apart a little sideways."
    )
    return _picture("lineages", "Incumbents of all lineages", caption, partial(lineages_figure, run))


def _picture(name: str, title: str, caption: str, draw: Callable[[Theme], Figure]) -> Picture:
    try:
        light, dark = (render(draw, theme) for theme in (LIGHT, DARK))
    except MissingDataError as error:
        return Picture(name, title, caption, missing=str(error))
    return Picture(name, title, caption, light, dark)
