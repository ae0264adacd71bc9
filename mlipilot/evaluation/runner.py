"""Evaluate one hand-over: rebuild it, make every measurement, write `metrics.json` and what goes with it.

Importable without torch; the heavy imports happen inside `evaluate` and count into its wall time.
"""

from __future__ import annotations

import io
import json
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlipilot.audit.files import sha256_file, write_atomic, write_json
from mlipilot.errors import InputError
from mlipilot.evaluation.catalog import ERRORS
from mlipilot.evaluation.loaded import begin, loaded
from mlipilot.evaluation.metric_settings import EvaluationSettings
from mlipilot.evaluation.metrics_file import MetricsFile, ModelFacts, reason_line
from mlipilot.evaluation.scorecard import Profile, load_scorecard
from mlipilot.evaluation.tasks import Progress, Task, make, tasks_of
from mlipilot.paths import CURVES, LOADED, METRICS
from mlipilot.versions import versions

if TYPE_CHECKING:
    from mlipilot.evaluation.bench import Split

_FILES = {
    "crystal": ["test/test.xyz", "test/test_large.xyz"],
    "structures": ["test/test.xyz"],
    "molecules": ["test/test.xyz", "test/equilibrium.xyz"],
}
"""What the data directory must hold for the test split."""


def evaluate(
    model_dir: Path,
    data_dir: Path,
    scorecard: Path,
    profile: Profile,
    split: Split,
    output: Path,
    progress: Progress = lambda _: None,
    device: str = "cpu",
    *,
    errors_only: bool = False,
) -> MetricsFile:
    """Measure the hand-over in `model_dir` and return what was written to `output`/metrics.json.

    `errors_only`: on the labelled frames of the split, and nothing else. A refused hand-over has the reason
    in `refused`. Raises InputError for a wrong scorecard or data directory, with nothing written.
    """
    wall, cpu = time.perf_counter(), time.process_time()
    card = load_scorecard(scorecard)
    settings = card.settings_for(profile)
    _check_data(data_dir, [*_FILES[settings.system], *(["sealed/sealed.xyz"] if split == "sealed" else [])])
    output.mkdir(parents=True, exist_ok=True)
    begin()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries about one another; results are checked by us
        made = (model_dir, data_dir, settings, card.metrics, split, progress, device, errors_only)
        found, curves = _evaluate(*made)
    report = MetricsFile(
        **found,
        format="mlipilot-metrics/1",
        split=split,
        profile=profile,
        scorecard_sha256=sha256_file(scorecard),
        wall_s=round(time.perf_counter() - wall, 3),
        cpu_s=round(time.process_time() - cpu, 3),
        versions=versions(),
    )
    if report.refused is None:
        _write_curves(output / CURVES, curves)
    write_atomic(output / LOADED, json.dumps(loaded(data_dir), sort_keys=True) + "\n")
    # last: it says that all is there
    write_json(output / METRICS, report.model_dump(mode="json", exclude_unset=True))
    return report


def _check_data(data_dir: Path, wanted: Sequence[str]) -> None:
    for name in wanted:
        if not (data_dir / name).is_file():
            raise InputError(
                f"the data directory has no {name}", file=data_dir, mend="build it with `mlipilot data build`"
            )


def _evaluate(
    model_dir: Path,
    data_dir: Path,
    settings: EvaluationSettings,
    asked: Sequence[str],
    split: Split,
    progress: Progress,
    device: str,
    errors_only: bool,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a metrics file has of the model and its metrics, and the curves."""
    start = time.perf_counter()
    import torch

    from mlipilot.evaluation.bench import Bench
    from mlipilot.evaluation.families.mace_rebuilding import rebuild
    from mlipilot.evaluation.handover_files import HandoverError

    torch.set_num_threads(1)  # steady timings, and the same sums on every run
    try:
        model = rebuild(model_dir, device)
    except HandoverError as error:
        reason = reason_line(str(error))
        progress(f"refused: {reason}")
        return {"refused": reason}, {}
    progress(f"rebuild {time.perf_counter() - start:.1f} s")
    bench = Bench.with_data(model.calculator(), settings, data_dir, split, model)
    facts = ModelFacts(
        model_class=model.config.model_class,
        dtype=model.config.dtype,
        arguments=model.config.arguments.model_dump(exclude_none=True),
        parameter_count=model.parameter_count,
        weights_digest=model.weights_digest,
    )
    found: dict[str, Any] = {"model": facts, "device": device}
    if settings.system == "crystal":
        from mlipilot.evaluation.reference import obtain

        start = time.perf_counter()
        bench.reference, source = obtain(data_dir, settings, progress)
        progress(f"reference ({source}) {time.perf_counter() - start:.1f} s")
        found["reference"] = {"source": source, "settings_digest": bench.reference.settings_digest}
    tasks = tasks_of(bench, asked)
    if errors_only:
        tasks = [task for task in tasks if task.label in ERRORS]
    elif split == "test":
        _check_asked(asked, tasks, data_dir)
    found["metrics"], curves = make(tasks, progress)
    return found, curves


def _check_asked(asked: Sequence[str], tasks: list[Task], data_dir: Path) -> None:
    owed = {name for task in tasks for name in task.names}
    absent = [name for name in asked if name not in owed]
    if absent:
        raise InputError(
            f"the scorecard judges {absent[0]}, for which the data have no reference",
            file=data_dir,
            mend="take it out of the scorecard, or add the labels or files to the data",
        )


def _write_curves(path: Path, curves: dict[str, Any]) -> None:
    import numpy as np

    stream = io.BytesIO()
    np.savez_compressed(stream, **curves)
    write_atomic(path, stream.getvalue())
