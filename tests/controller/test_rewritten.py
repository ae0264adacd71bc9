"""A verdict reads the metrics file that was sealed, whatever lies in its place by then."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mlipilot.audit.manifest import MANIFEST, write_manifest
from mlipilot.controller.verdict import compute_verdict
from mlipilot.errors import PausedError
from mlipilot.paths import CURVES, JobKey
from tests.controller.bench import ENERGY, FORCE, INVALID, SEEDS, Bench, better, metrics_of
from tests.controller.events import (
    ended,
    measured,
    verdict,
)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path)
    made.candidate(0, {1: (8.0, 2.0), 2: (8.0, 4.0), 3: (8.0, 8.0)})
    return made


def _seal_again(path: Path) -> None:
    path.write_text(json.dumps(metrics_of({FORCE: 1.0, ENERGY: 0.1})))
    write_manifest(path.parents[1])


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _link(path: Path) -> None:
    path.rename(path.with_name("real"))
    path.symlink_to("real")


REWRITTEN: dict[str, Callable[[Path], object]] = {
    "a number": lambda path: path.write_text(path.read_text().replace(".0", ".1")),
    "with its manifest": _seal_again,
    "nothing": Path.unlink,
    "a pipe": _pipe,
    "a link": _link,
    "no manifest": lambda path: (path.parents[1] / MANIFEST).unlink(),
}


@pytest.mark.parametrize("how", REWRITTEN)
def test_a_candidate_whose_metrics_were_rewritten_is_invalid(bench: Bench, how: str) -> None:
    """By the training of another of its seeds, say."""
    better(bench, 1)
    state = bench.state(*measured(0, *SEEDS), verdict(0), *measured(1, *SEEDS))
    REWRITTEN[how](bench.lineage.metrics(JobKey(1, 2, "evaluate"), 1))
    for _ in range(2):  # as it is judged, and as it is verified
        found = compute_verdict(state, state.iterations[1], bench.measured)
        assert {key: found[key] for key in INVALID} == INVALID
        path = "iterations/0001/seed-2/evaluate/attempt-1/output/metrics.json"
        assert found["reason"] == f"{path} is not the file that was measured"
        assert list(found["scores"]) == ["1", "3"] and found["incumbent"] == 0
        bench.open()


@pytest.mark.parametrize("how", REWRITTEN)
def test_rewritten_metrics_of_an_incumbent_pause_the_run(bench: Bench, how: str) -> None:
    better(bench, 1)
    state = bench.state(*measured(0, *SEEDS), verdict(0), *measured(1, *SEEDS))
    path = bench.lineage.metrics(JobKey(0, 3, "evaluate"), 1)
    (kept := bench.lineage.root / "kept").mkdir()
    shutil.copytree(path.parents[1], kept, dirs_exist_ok=True)
    REWRITTEN[how](path)
    with pytest.raises(
        PausedError, match=re.escape(f"{path} is not the file that was measured: put it back")
    ):
        compute_verdict(state, state.iterations[1], bench.measured)
    shutil.rmtree(path.parents[1])
    kept.rename(path.parents[1])
    assert compute_verdict(state, state.iterations[1], bench.measured)["verdict"] == "accepted"


def test_metrics_of_a_candidate_that_was_not_accepted_are_none_once_rewritten(bench: Bench) -> None:
    better(bench, 1)
    state = bench.state(*measured(0, *SEEDS), verdict(0), *measured(1, *SEEDS), verdict(1, "reverted"))
    bench.lineage.metrics(JobKey(1, 1, "evaluate"), 1).write_text("{}")
    assert bench.measured.metrics(state, JobKey(1, 1, "evaluate")) is None
    assert list(bench.measured.by_seed(state, 1)) == [2, 3]


def _with_curves(bench: Bench, key: JobKey) -> Path:
    path = bench.lineage.metrics(key, 1).with_name(CURVES)
    np.savez(path, force=np.arange(3.0))
    write_manifest(path.parents[1])
    return path


def test_curves_are_those_that_were_sealed_beside_the_metrics(bench: Bench) -> None:
    key = JobKey(0, 1, "evaluate")
    path = _with_curves(bench, key)
    state = bench.state(*measured(0, *SEEDS), verdict(0))
    assert bench.measured.metrics(state, key) is not None  # that these were read says nothing of others
    assert {name: list(array) for name, array in bench.measured.curves(state, key).items()} == {
        "force": [0.0, 1.0, 2.0]
    }
    spoils: list[Callable[[], object]] = [lambda: np.savez(path, force=np.zeros(3)), path.unlink]
    for spoil in spoils:
        spoil()
        with pytest.raises(
            PausedError, match=f"^{re.escape(str(path))} is not the file that was measured: put it back"
        ):
            bench.measured.curves(state, key)


def test_of_an_evaluation_that_did_not_end_well_or_was_not_begun_there_are_no_curves(bench: Bench) -> None:
    failed = JobKey(0, 2, "evaluate")
    for key in (failed, JobKey(0, 3, "evaluate")):
        _with_curves(bench, key)
    state = bench.state(*measured(0, 1), *ended(0, 2, "evaluate", "failed"), verdict(0))
    assert (
        bench.measured.curves(state, failed) == bench.measured.curves(state, JobKey(0, 3, "evaluate")) == {}
    )
