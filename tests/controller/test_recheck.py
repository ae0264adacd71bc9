"""A forger rewrites a record and all hashes after it: what the files do not give is named with its line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from mlipilot.audit.files import write_json
from mlipilot.audit.ledger import GENESIS, canonical_digest
from mlipilot.audit.surroundings import Isolation
from mlipilot.audit.verify_digests import verify_digests
from mlipilot.controller.job_submission import Attempts
from mlipilot.controller.planting import NOT_BEGUN
from mlipilot.controller.recheck import recheck_records
from mlipilot.controller.state import replay
from mlipilot.paths import ORDER, JobKey, RunPaths
from tests.events import event
from tests.report.synthetic import SyntheticRun, make_spec

Body = dict[str, Any]
Forger = Callable[[str, Body], tuple[list[str], int]]
EFFECT = {"metric": "x", "direction": "decrease", "grade": "held", "before": 2.0, "after": 1.0}


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> RunPaths:
    made = SyntheticRun(tmp_path_factory.mktemp("honest") / "cu_emt", make_spec(seeds=[1, 2]))
    made.propose(0, None, {})
    made.candidate(0, 0.1)
    made.propose(1, None, {"learning_rate: 0.01": "learning_rate: 0.02"})
    made.candidate(1, 0.9)
    made.lineage.incumbent.symlink_to("iterations/0001")
    made.sealed_check()
    made.end("a test")
    return made.run


@pytest.fixture
def forge(honest: RunPaths, tmp_path: Path) -> Forger:
    return forger(honest, tmp_path)


def forger(honest: RunPaths, tmp_path: Path) -> Forger:
    """Change the last record of a kind in a copy; what is said then, and the line that is wrong."""
    run = RunPaths(Path(shutil.copytree(honest.root, tmp_path / "cu_emt", symlinks=True)))
    ledger = run.lineage(0).ledger

    def change(kind: str, said: Body) -> tuple[list[str], int]:
        records = [json.loads(line) for line in ledger.read_text().splitlines()]
        line = max(n for n, record in enumerate(records, 1) if record["kind"] == kind)
        records[line - 1]["body"] |= said
        prev = GENESIS
        for record in records:
            record["prev"] = prev
            record["hash"] = prev = canonical_digest({k: v for k, v in record.items() if k != "hash"})
        ledger.write_bytes(b"".join(rfc8785.dumps(record) + b"\n" for record in records))
        assert verify_digests(run).problems == []
        return recheck_records(run, run.lineage(0)), line

    return change


def test_nothing_is_wrong_with_an_honest_run(honest: RunPaths) -> None:
    assert recheck_records(honest, honest.lineage(0)) == []


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("verdict", {"reason": "better"}),
        ("verdict", {"gain": 99.0}),
        ("verdict", {"threshold": 0.0}),
        ("verdict", {"violation": 0.5}),
        ("verdict", {"log_objective": -20.0}),
        ("verdict", {"measure": "objective", "gain": None}),
        ("verdict", {"effects": [EFFECT]}),
        ("job_finished", {"outcome": "failed"}),
        ("job_finished", {"cpu_s": 0.5}),
        ("job_finished", {"wall_s": 0.5}),
        ("job_finished", {"gpu_s": 7.0}),
        ("sealed_check", {"1": {}}),
        ("campaign_started", {"lineage": 1}),
        ("campaign_started", {"versions": {"python": "3.11.0"}}),
        ("campaign_started", {"mlipilot": "0.0.1"}),
        ("campaign_started", {"python": "3.11.0"}),
        ("job_finished", {"node": "node1"}),  # there is no scheduler
        ("job_finished", {"bad_node": "node1"}),
        ("job_finished", {"free": True}),
    ],
)
def test_a_record_that_does_not_follow_from_the_files_is_named(kind: str, said: Body, forge: Forger) -> None:
    found, line = forge(kind, said)
    name = "root" if kind == "sealed_check" else next(iter(said))
    assert any(f"ledger.jsonl:{line}: {kind}.{name}: it says" in problem for problem in found)


@pytest.mark.parametrize("text", ["", "[]", "7", "null", "title", "- title", '{"title": {}}', "\x00", "{"])
def test_whatever_its_files_hold_instead_it_says_so_and_does_not_break(
    honest: RunPaths, tmp_path: Path, text: str
) -> None:
    run = RunPaths(Path(shutil.copytree(honest.root, tmp_path / "cu_emt", symlinks=True)))
    read = [*run.root.rglob("hypothesis.yaml"), *run.root.rglob("verdict.json")]
    read += [*run.root.rglob("result.json"), *run.root.rglob("metrics.json")]
    assert len(read) > 10
    for path in read:
        before = path.read_bytes()
        path.write_text(text)
        assert recheck_records(run, run.lineage(0)) != [], path
        path.write_bytes(before)
    assert recheck_records(run, run.lineage(0)) == []


OF_TRAINING = {"iteration": 0, "seed": 1, "job": "train", "attempt": 1}
LOST = {"outcome": "lost", "reason": "the worker ended without sealing the attempt"}
SPENT = {"cpu_s": 0.0, "gpu_s": 0.0, "wall_s": 0.0, "manifest_sha256": None}
ISOLATED = {"isolation": Isolation().model_dump(), "machine": {"processor": "AMD EPYC", "gpu": None}}


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({}, []),
        ({"sealed_by": "the controller", "dropped": "7 files"}, ["dropped", "sealed_by"]),
        (ISOLATED, ["isolation", "machine"]),
        ({"free": True}, ["free"]),
        ({"free": True, "reason": NOT_BEGUN[0]}, []),
        ({"free": False, "reason": NOT_BEGUN[1]}, ["free"]),
        ({"node": "node1", "job_name": "mlp-1", "bad_node": "node1"}, ["bad_node", "job_name", "node"]),
        ({"outcome": "cancelled", "free": True, "reason": NOT_BEGUN[0]}, ["free"]),
    ],
)
def test_what_nobody_can_know_of_an_attempt_without_a_result_is_named(
    said: Body, wrong: list[str], tmp_path: Path
) -> None:
    made = SyntheticRun(tmp_path / "cu_emt", make_spec(seeds=[1]))
    made.propose(0, None, {})
    attempt = made.start(JobKey(0, 1, "train"))
    shutil.rmtree(attempt)
    made.ledger.append(event("job_finished", OF_TRAINING | LOST | SPENT | said))
    found = recheck_records(made.run, made.lineage)
    names = [problem.partition("job_finished.")[2].partition(":")[0] for problem in found]
    assert sorted(names) == wrong


def test_an_attempt_that_left_something_had_begun(tmp_path: Path) -> None:
    made = SyntheticRun(tmp_path / "cu_emt", make_spec(seeds=[1]))
    made.propose(0, None, {})
    made.start(JobKey(0, 1, "train"))
    free = LOST | SPENT | {"free": True, "reason": NOT_BEGUN[0]}
    made.ledger.append(event("job_finished", OF_TRAINING | free))
    (said,) = recheck_records(made.run, made.lineage)
    assert "job_finished.free: it says true, computed again from the files it is false" in said


def test_a_controller_that_took_the_run_up_again_may_have_had_other_versions(tmp_path: Path) -> None:
    made = SyntheticRun(tmp_path / "cu_emt", make_spec(seeds=[1]))
    made.propose(0, None, {})
    made.ledger.append(event("resumed"))
    made.train(0, 1, 0.1)
    made.evaluate(0, 1, 0.1)
    metrics = made.lineage.metrics(JobKey(0, 1, "evaluate"), 1)
    metrics.write_text(metrics.read_text().replace('"torch": "', '"torch": "1'))
    assert not any("campaign_started" in said for said in recheck_records(made.run, made.lineage))


def test_a_training_beyond_the_machine_time_of_the_baseline_is_named(tmp_path: Path) -> None:
    made = SyntheticRun(tmp_path / "cu_emt", make_spec(seeds=[1]))
    made.propose(0, None, {})
    made.candidate(0, 0.1)
    made.propose(1, None, {"learning_rate: 0.01": "learning_rate: 0.02"})
    key = JobKey(1, 1, "train")
    attempts, state = Attempts(made.run, made.lineage, made.spec), replay(made.ledger.records)
    order = attempts.due_order(state, key, 1)
    attempt = made.start(key)
    write_json(attempt / ORDER, order.model_copy(update={"machine_limit_s": 1e6}).model_dump())
    made.finish(key, 4 * 32.0 + 10.0)
    first, second = recheck_records(made.run, made.lineage)
    assert f"{attempt / ORDER} does not have the machine_limit_s that the baseline gives, 128.0" in first
    assert second.endswith("the training took 138.0 machine seconds, and the baseline gives it 128.0")
