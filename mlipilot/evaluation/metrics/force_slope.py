"""Whether forces are too soft: slope of the model's over the true ones, and its distance from 1 (no unit).

slope = Σ F_model F_true / Σ F_true² over all components of the labelled frames, least squares through the
origin; error = |slope − 1|. A slope below 1 is the softening of Deng et al., npj Comput. Mater. 11, 9 (2025):
wells and barriers that are too flat, frequencies too low, diffusion too fast. Noise of the model alone does
not change it, a bias does, and no MAE tells the two apart. Of the sealed frames in the exam, of the test
frames where a card judges by it. Cost: none, the predictions are those of `accuracy.py`.
"""

from __future__ import annotations

from mlipilot.evaluation.declaration import FRAMES, Group, Metric
from mlipilot.evaluation.lazily import Bench, np
from mlipilot.evaluation.metrics.accuracy import compared
from mlipilot.evaluation.metrics_file import Measurement, MeasurementError


def measure(bench: Bench) -> Measurement:
    """The slope and its error. Raises MeasurementError where a force is no number, or all labels are zero."""
    labels, found = compared(bench)
    true, model = labels.forces_ev_per_a, found.forces_ev_per_a
    if not np.isfinite(model).all():
        raise MeasurementError("a force is not a finite number")
    if not true.any():
        raise MeasurementError("every force of the labels is zero")
    slope = float((true * model).sum() / (true**2).sum())
    return Measurement({"force_slope": slope, "force_slope_error": abs(slope - 1)})


GROUP = Group(
    name="force slope",
    place=35,
    metrics=(
        Metric("force_slope_error", "1", "lower", "force slope error", FRAMES),
        Metric("force_slope", "1", "none", "slope of the model's forces over the true ones", FRAMES),
    ),
    measure=measure,
    source="Deng et al., npj Comput. Mater. 11, 9 (2025)",
    sealed=True,
    exam=True,
)
