"""Evaluate one hand-over: rebuild it, make every measurement, write `metrics.json` and `curves.npz`.

Importable without torch; the heavy imports happen inside `evaluate` and count into its wall time.
"""

from __future__ import annotations

import io
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mlipilot.audit.files import sha256_file, write_atomic, write_json
from mlipilot.errors import InputError
from mlipilot.evaluation.catalog import Group, names_of
from mlipilot.evaluation.metric_settings import EvaluationSettings
from mlipilot.evaluation.scorecard import Profile, load_scorecard
from mlipilot.evaluation.tasks import Progress, Task, make
from mlipilot.untrusted import one_line
from mlipilot.versions import versions

if TYPE_CHECKING:
    from mlipilot.evaluation.reference_values import ReferenceValues
    from mlipilot.evaluation.results import Measurement
    from mlipilot.evaluation.subject import Subject

__all__ = ["Task", "evaluate", "make", "physics_tasks"]

FORMAT = "mlipilot-metrics/1"
Split = Literal["test", "sealed"]
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
) -> dict[str, Any]:
    """Measure the hand-over in `model_dir` and return what was written to `output`/metrics.json.

    A refused hand-over has the key "refused" with the reason. Raises InputError for a wrong scorecard or
    data directory, with nothing written.
    """
    wall, cpu = time.perf_counter(), time.process_time()
    card = load_scorecard(scorecard)
    settings = card.settings_for(profile)
    _check_data(data_dir, _FILES[settings.system] if split == "test" else ["sealed/sealed.xyz"])
    output.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries about one another; results are checked by us
        report, curves = _evaluate(model_dir, data_dir, settings, card.metrics, split, progress, device)
    report |= {
        "format": FORMAT,
        "split": split,
        "profile": profile,
        "scorecard_sha256": sha256_file(scorecard),
        "wall_s": round(time.perf_counter() - wall, 3),
        "cpu_s": round(time.process_time() - cpu, 3),
        "versions": versions(),
    }
    if "refused" not in report:
        _write_curves(output / "curves.npz", curves)
    write_json(output / "metrics.json", report)  # last: it says that all is there
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
) -> tuple[dict[str, Any], dict[str, Any]]:
    start = time.perf_counter()
    import torch

    from mlipilot.evaluation.rebuild import HandoverError, rebuild
    from mlipilot.evaluation.results import MAX_REASON
    from mlipilot.evaluation.subject import Subject

    torch.set_num_threads(1)  # steady timings, and the same sums on every run
    try:
        model = rebuild(model_dir, device)
    except HandoverError as error:
        reason = one_line(str(error), MAX_REASON)
        progress(f"refused: {reason}")
        return {"refused": reason}, {}
    progress(f"rebuild {time.perf_counter() - start:.1f} s")
    subject = Subject.of_model(model, settings)
    described = {
        "model_class": model.config.model_class,
        "dtype": model.config.dtype,
        "arguments": model.config.arguments.model_dump(exclude_none=True),
        "parameter_count": model.parameter_count,
        "weights_digest": model.weights_digest,
    }
    report: dict[str, Any] = {"model": described, "device": device}
    if settings.system == "crystal":
        if split == "sealed":
            tasks = _error_tasks(subject, data_dir / "sealed" / "sealed.xyz")
        else:
            from mlipilot.evaluation.reference import obtain

            start = time.perf_counter()
            reference, source = obtain(data_dir, settings, progress)
            progress(f"reference ({source}) {time.perf_counter() - start:.1f} s")
            report["reference"] = {"source": source, "settings_digest": reference.settings_digest}
            tasks = _test_tasks(subject, data_dir, reference)
    else:
        from mlipilot.evaluation.systems import frame_tasks, sealed_tasks

        tasks = sealed_tasks(subject, data_dir) if split == "sealed" else frame_tasks(subject, data_dir)
        if split == "test":
            _check_asked(asked, tasks, data_dir)
    entries, curves = make(tasks, settings.throughput.max_relative_cost, progress)
    return {**report, "metrics": entries}, curves


def _check_asked(asked: Sequence[str], tasks: list[Task], data_dir: Path) -> None:
    owed = {name for task in tasks for name in task.names}
    absent = [name for name in asked if name not in owed]
    if absent:
        raise InputError(
            f"the scorecard judges {absent[0]}, for which the data have no reference",
            file=data_dir,
            mend="take it out of the scorecard, or add the labels or files to the data",
        )


def _error_tasks(subject: Subject, labelled: Path) -> list[Task]:
    from mlipilot.evaluation.metrics import accuracy

    names = [name for name in names_of("errors", "crystal") if not name.startswith("large_cell_")]
    return [Task("errors", names, lambda: accuracy.measure(subject, labelled))]


def _test_tasks(subject: Subject, data_dir: Path, reference: ReferenceValues) -> list[Task]:
    from mlipilot.evaluation.metrics import accuracy, size, throughput

    large = data_dir / "test" / "test_large.xyz"
    names = [name for name in names_of("errors") if name.startswith("large_cell_")]
    return [
        Task("size", names_of("size"), lambda: size.measure(subject)),  # first: see its docstring
        Task("throughput", names_of("throughput"), lambda: throughput.measure(subject)),
        *_error_tasks(subject, data_dir / "test" / "test.xyz"),
        Task("large cell", names, lambda: accuracy.measure_large_cell(subject, large)),
        *physics_tasks(subject, reference),
    ]


def physics_tasks(subject: Subject, reference: ReferenceValues) -> list[Task]:
    """The measurements that need a calculator only, so that EMT itself can be put on the bench."""
    from mlipilot.evaluation.metrics import (
        compression,
        elasticity,
        finite_difference,
        invariance,
        lattice,
        nve,
        nvt,
        vacancy,
    )

    measures: dict[Group, Callable[[], Measurement]] = {
        "lattice": lambda: lattice.measure(subject, reference),
        "elasticity": lambda: elasticity.measure(subject, reference),
        "vacancy": lambda: vacancy.measure(subject, reference),
        "compression": lambda: compression.measure(subject, reference),
        "invariance": lambda: invariance.measure(subject),
        "finite_difference": lambda: finite_difference.measure(subject),
        "nve": lambda: nve.measure(subject, reference),
        "nvt": lambda: nvt.measure(subject, reference),
    }
    return [Task(group, names_of(group), measure) for group, measure in measures.items()]


def _write_curves(path: Path, curves: dict[str, Any]) -> None:
    import numpy as np

    stream = io.BytesIO()
    np.savez_compressed(stream, **curves)
    write_atomic(path, stream.getvalue())
