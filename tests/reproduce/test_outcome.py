"""When a reproduction counts as one."""

from __future__ import annotations

import json
from dataclasses import replace

from mlipilot.reproduce.compare import Agreement, Comparison
from mlipilot.reproduce.environment import Environment
from mlipilot.reproduce.outcome import Outcome, Weights

SAME, OTHER = Weights(1, "a" * 64, "a" * 64, True), Weights(2, "a" * 64, "b" * 64, True)


def _metric(agreement: Agreement) -> Comparison:
    return Comparison("force_mae_mev_per_a", "meV/Å", [60.0], [61.0], 5.0, agreement)


GOOD = Outcome(
    run="/r",
    campaign="cu_emt",
    lineage=0,
    iteration=3,
    seeds=[1, 2],
    ledger_head="0" * 64,
    environment=Environment("outside of the image", None, "cpu", ["cpu"], {}, []),
    data={"train/train.xyz": "same bytes"},
    failures=[],
    weights=[SAME],
    metrics=[_metric("equal"), _metric("not judged")],
)


def test_a_good_one_has_no_problems() -> None:
    assert GOOD.problems == []
    written = json.loads(json.dumps(GOOD.as_dict()))
    assert written["reproduced"] is True and written["format"] == "mlipilot-reproduction/1"
    assert "1 judged metrics 1 are equal" in GOOD.summary


def test_other_weights_are_a_problem_where_they_must_be_the_same_only() -> None:
    other = replace(GOOD, weights=[SAME, OTHER], metrics=[_metric("within noise")])
    assert other.problems == ["other weights on the same processor and versions: seed 2"]
    elsewhere = replace(OTHER, must_match=False)
    assert replace(other, weights=[SAME, elsewhere]).problems == []


def test_a_metric_beyond_the_noise_is_a_problem_everywhere() -> None:
    for must_match in (True, False):
        weights = [replace(SAME, must_match=must_match)]
        found = replace(GOOD, metrics=[_metric("differs")], weights=weights)
        assert found.problems == ["beyond the run's noise: force_mae_mev_per_a"]
        assert found.as_dict()["reproduced"] is False


def test_a_job_that_failed_is_a_problem() -> None:
    failed = replace(GOOD, failures=["0003/seed-1/train failed: boom"], weights=[], metrics=[])
    assert failed.problems == ["0003/seed-1/train failed: boom"]
