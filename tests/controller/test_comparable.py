"""What an evaluation says that it read and ran, held to the run's data and to the baseline's evaluation."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mlipilot.audit.files import sha256_bytes
from mlipilot.audit.manifest import write_manifest
from mlipilot.controller.comparable import first_measured, not_comparable
from mlipilot.controller.recheck import recheck_records
from mlipilot.controller.state import replay
from mlipilot.paths import JobKey, RunPaths
from tests.report.synthetic import SyntheticRun, make_spec

EVALUATE = JobKey(1, 2, "evaluate")
TORCH = {"torch": "a" * 64, "torch.nn": "b" * 64}
SAID: dict[str, Any] = {"data": {"test/test.xyz": sha256_bytes(b"frames")}, "modules": TORCH}


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    run = RunPaths(tmp_path)
    (run.data / "test").mkdir(parents=True)
    (run.data / "test" / "test.xyz").write_bytes(b"frames")
    write_manifest(run.data)
    return run


def _attempt(run: RunPaths, name: str, said: Any) -> Path:
    attempt = run.root / name
    (attempt / "output").mkdir(parents=True)
    if said is not None:
        text = said if isinstance(said, str) else json.dumps(said)
        (attempt / "output" / "loaded.json").write_text(text, encoding="latin-1")
    return attempt


@pytest.mark.parametrize("modules", [TORCH, {"torch": "a" * 64}, TORCH | {"ase": "c" * 64}, {}])
def test_the_same_data_and_code_are_comparable_whatever_else_was_loaded(
    run: RunPaths, modules: dict[str, str]
) -> None:
    first = _attempt(run, "first", SAID)
    assert not_comparable(run, EVALUATE, _attempt(run, "a", SAID | {"modules": modules}), first) == []
    assert not_comparable(run, EVALUATE, first, None) == []


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (SAID | {"modules": TORCH | {"torch.nn": "f" * 64}}, "it ran another torch.nn than the first"),
        (SAID | {"data": {"test/test.xyz": "f" * 64}}, "it read another test/test.xyz than the run's"),
        # swapped for another while it was read, and put back
        (
            SAID | {"data": {"test/test.xyz": f"{sha256_bytes(b'frames')} {'f' * 64}"}},
            "another test/test.xyz",
        ),
        (SAID | {"data": {"../secret": "f" * 64}}, "it read another ../secret"),
        (None, "cannot be told: .*No such file"),
        ("{", "cannot be told: Invalid JSON"),
        ("\xff", "cannot be told"),
        ("[" * 100_000, "cannot be told"),
        ({"data": {}}, "cannot be told: Field required"),
        ({"data": {}, "modules": {"torch": 1}}, "cannot be told: Input should be a valid string"),
    ],
)
def test_what_was_measured_with_anything_else_is_said_by_name(run: RunPaths, said: Any, words: str) -> None:
    (found,) = not_comparable(run, EVALUATE, _attempt(run, "a", said), _attempt(run, "first", SAID))
    assert found.isprintable() and re.search(words, found), found


def test_names_that_an_attempt_makes_up_are_shown_in_one_line(run: RunPaths) -> None:
    said = SAID | {"data": {"x\n\x1b[31m": "f" * 64}}
    (found,) = not_comparable(run, EVALUATE, _attempt(run, "a", said), None)
    assert found.isprintable()


def test_of_other_jobs_and_of_older_evaluations_nothing_is_asked(run: RunPaths) -> None:
    old = _attempt(run, "old", None)
    assert not_comparable(run, EVALUATE, _attempt(run, "a", None), old) == []
    assert not_comparable(run, EVALUATE, old, None) == []
    assert not_comparable(run, JobKey(1, 2, "train"), old, _attempt(run, "first", SAID)) == []


def test_a_library_that_changed_under_a_run_is_found_again_by_verify(tmp_path: Path) -> None:
    made = SyntheticRun(tmp_path / "run", make_spec(seeds=[1]))
    made.propose(0, None, {})
    made.loaded = SAID | {"data": {}}
    made.candidate(0, 0.0)
    made.propose(1, None, {})
    made.train(1, 1, 0.1)
    assert recheck_records(made.run, made.lineage) == []
    made.loaded = SAID | {"data": {}, "modules": {"torch": "f" * 64}}
    made.evaluate(1, 1, 0.1)  # is on record as ok
    state = replay(made.ledger.records)
    assert first_measured(made.lineage, state) == made.lineage.attempt(JobKey(0, 1, "evaluate"), 1)
    (problem,) = recheck_records(made.run, made.lineage)
    assert '.outcome: it says "ok", computed again from the files it is "protected_changed"' in problem
