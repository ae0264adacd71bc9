import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.calculators.calculator import Calculator

from mlipilot.errors import InputError
from mlipilot.evaluation import __main__ as command
from mlipilot.evaluation import reference
from mlipilot.evaluation.bench import Bench
from mlipilot.evaluation.catalog import CATALOG, EXAM, GROUPS, OF_THE_MACHINE, metrics_of
from mlipilot.evaluation.metric_settings import REFERENCE_FILE, EvaluationSettings
from mlipilot.evaluation.metrics.throughput import too_dear
from mlipilot.evaluation.metrics_file import Measurement, MeasurementError, MetricsFile
from mlipilot.evaluation.runner import evaluate
from mlipilot.evaluation.scorecard import load_scorecard, score
from mlipilot.evaluation.tasks import Task, make

NVE = ["nve_drift_mev_per_atom_per_ps", "nve_completed_fraction"]


def silent(_: str) -> None:
    pass


def raising(error: Exception) -> Any:
    def measure() -> Measurement:
        raise error

    return measure


def run(model: Path, data: Path, scorecard: Path, output: Path, *more: str) -> int:
    paths = ["--model", model, "--data", data, "--scorecard", scorecard, "--output", output]
    return command.main([str(part) for part in paths] + list(more))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MeasurementError("the lattice fell apart"), "the lattice fell apart"),
        (RuntimeError("bad\nweights"), "RuntimeError: bad weights"),
        (ZeroDivisionError(), "ZeroDivisionError"),
        (MemoryError("16 GiB"), "MemoryError: 16 GiB"),
    ],
)
def test_a_measurement_that_raises_is_a_failed_metric_with_its_reason(error: Exception, reason: str) -> None:
    tasks = [
        Task("nve", NVE, raising(error)),
        Task(
            "vacancy",
            ["vacancy_formation_energy_ev"],
            lambda: Measurement({"vacancy_formation_energy_ev": 1.0}),
        ),
    ]
    entries, _ = make(tasks, silent)
    for name in NVE:
        assert entries[name].status == "failed"
        assert reason in str(entries[name].reason)
    assert entries["vacancy_formation_energy_ev"].value == 1.0  # the others are measured all the same


def test_wrong_data_are_not_blamed_on_the_model() -> None:
    with pytest.raises(InputError):
        make([Task("errors", ["force_mae_mev_per_a"], raising(InputError("no labels")))], silent)


def test_a_model_that_is_too_dear_is_measured_no_further() -> None:
    stops = partial(too_dear, Bench(Calculator(), EvaluationSettings()))
    tasks = [
        Task("throughput", ["relative_cost"], lambda: Measurement({"relative_cost": 61.0}), stops),
        Task("nve", NVE, raising(AssertionError("must not be called"))),
        Task("size", ["parameter_count"], raising(AssertionError("must not be called"))),
    ]
    entries, _ = make(tasks, silent)
    assert entries["relative_cost"].value == 61.0
    assert "61 times" in str(entries["nve_completed_fraction"].reason)
    assert "61 times" in str(entries["parameter_count"].reason)


def test_a_model_may_cost_what_the_scorecard_allows() -> None:
    bench = Bench(Calculator(), EvaluationSettings.model_validate({"throughput": {"max_relative_cost": 3}}))
    stops = [too_dear(bench, Measurement({"relative_cost": cost})) for cost in (2.9, 3.0, 3.1)]
    assert stops == ["", "", "not measured: the model costs 3.1 times the reference"]
    assert too_dear(bench, Measurement(failures={"relative_cost": "no clock"})) == ""


@pytest.mark.slow
def test_a_whole_evaluation_gives_every_metric_and_is_repeatable(
    pristine_handover: Path,
    data_dir: Path,
    scorecard: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run(pristine_handover, data_dir, scorecard, tmp_path / "one") == 0
    first = json.loads((tmp_path / "one" / "metrics.json").read_text())
    assert first["metrics"].keys() == set(metrics_of("crystal")) - EXAM
    assert first["format"] == "mlipilot-metrics/1"
    assert first["split"] == "test"
    assert first["reference"]["source"] == "computed"
    for name, entry in first["metrics"].items():
        assert entry["unit"] == CATALOG[name].unit
        assert (entry["status"] == "ok") == (entry["value"] is not None) == (entry["reason"] is None)
        assert entry["cost_s"] >= 0
    assert "evaluate: nvt " in capfd.readouterr().err
    with np.load(tmp_path / "one" / "curves.npz", allow_pickle=False) as curves:
        assert curves["force_model_ev_per_a"].shape == (12, 3)
    assert not score(
        load_scorecard(scorecard), MetricsFile.model_validate(first)
    ).feasible  # its weights are random

    reference.write(load_scorecard(scorecard).settings_for("smoke"), data_dir / REFERENCE_FILE)
    try:
        second = evaluate(pristine_handover, data_dir, scorecard, "smoke", "test", tmp_path / "two")
    finally:
        (data_dir / REFERENCE_FILE).unlink()
    assert second.reference is not None and second.reference["source"] == "file"
    for name in first["metrics"].keys() - OF_THE_MACHINE:
        assert second.metrics[name].value == first["metrics"][name]["value"], name
    assert second.model.weights_digest == first["model"]["weights_digest"]


def test_the_sealed_split_gives_errors_and_the_exam(
    pristine_handover: Path, data_dir: Path, scorecard: Path, tmp_path: Path
) -> None:
    assert run(pristine_handover, data_dir, scorecard, tmp_path, "--split", "sealed") == 0
    report = json.loads((tmp_path / "metrics.json").read_text())
    assert report["split"] == "sealed"
    errors = next(group for group in GROUPS if group.name == "errors")
    sealed = {metric.name for metric in errors.metrics}
    exam = EXAM & {*metrics_of("crystal")}
    assert report["metrics"].keys() == sealed | exam and len(sealed) == 10 and len(exam) >= 15
    assert all(report["metrics"][name]["status"] == "ok" for name in sealed)


def test_a_refused_handover_is_written_down_and_exits_3(
    model_dir: Path, data_dir: Path, scorecard: Path, tmp_path: Path
) -> None:
    (model_dir / "model.pt").write_bytes(b"\x80\x04")
    assert run(model_dir, data_dir, scorecard, tmp_path / "out") == 3
    report = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert "pickle" in report["refused"]
    assert "metrics" not in report
    judged = score(load_scorecard(scorecard), MetricsFile.model_validate(report))
    assert not judged.feasible
    assert "pickle" in str(judged.gates[0].reason)


def test_bad_input_exits_2_and_writes_nothing(
    pristine_handover: Path,
    data_dir: Path,
    scorecard: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert run(pristine_handover, tmp_path, scorecard, out) == 2
    assert "test/test.xyz" in capsys.readouterr().err
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(scorecard.read_text().replace("force_mae_mev_per_a", "force_mea_mev_per_a"))
    assert run(pristine_handover, data_dir, wrong, out) == 2
    assert "did you mean 'force_mae_mev_per_a'" in capsys.readouterr().err
    spoilt = tmp_path / "data"
    shutil.copytree(data_dir, spoilt)
    (spoilt / "test" / "test.xyz").write_text("2\nno labels\nCu 0 0 0\nCu 0 0 1.8\n")
    assert run(pristine_handover, spoilt, scorecard, out) == 2
    assert not (out / "metrics.json").exists()
