"""A verdict as law: from metrics files that are written here to every field of `verdict.json`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pytest

from mlipilot.controller.verdict import sealed_summary
from mlipilot.evaluation.metrics_file import MetricsFile
from mlipilot.paths import JobKey
from tests.controller.bench import ENERGY, FORCE, INVALID, LN2, SEEDS, Bench, better, metrics_of
from tests.controller.events import (
    HYPOTHESIS,
    Event,
    ended,
    measured,
    proposed,
    submitted,
    told,
    verdict,
)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path)
    made.candidate(0, {1: (8.0, 2.0), 2: (8.0, 4.0), 3: (8.0, 8.0)})
    return made


def test_metrics_are_those_of_the_newest_attempt_that_ended_well(bench: Bench) -> None:
    key = JobKey(0, 1, "evaluate")
    bench.write(key, {"profile": "2"}, attempt=2)
    ok, lost = ended(0, 1, "evaluate"), ended(0, 1, "evaluate", "lost")
    again = [*lost, *ended(0, 1, "evaluate", "ok", 2)]
    assert bench.measured.metrics(bench.state(), key) is None
    assert bench.measured.metrics(bench.state(submitted(0, 1, "evaluate")), key) is None
    assert bench.measured.metrics(bench.state(*lost), key) is None
    assert bench.measured.metrics(bench.state(*ended(0, 1, "evaluate", "failed")), key) is None
    assert bench.measured.metrics(bench.state(*again), key) == MetricsFile(profile="2")
    assert bench.measured.metrics(bench.state(*again, submitted(0, 1, "evaluate", 3)), key) is None
    bench.open()
    assert bench.measured.metrics(bench.state(*ok), key) == MetricsFile.model_validate(
        metrics_of({FORCE: 8.0, ENERGY: 2.0})
    )


def test_a_metrics_file_is_read_once(bench: Bench) -> None:
    state, key = bench.state(*ended(0, 1, "evaluate")), JobKey(0, 1, "evaluate")
    before = bench.measured.metrics(state, key)
    bench.write(key, {})
    assert bench.measured.metrics(state, key) == before


def test_a_metrics_file_that_is_no_mapping_is_refused(bench: Bench) -> None:
    bench.write(JobKey(0, 1, "evaluate"), [1])
    with pytest.raises(ValueError, match="MetricsFile"):
        bench.measured.metrics(bench.state(*ended(0, 1, "evaluate")), JobKey(0, 1, "evaluate"))


def test_seeds_are_in_their_order_and_what_was_not_measured_is_left_out(bench: Bench) -> None:
    state = bench.state(*measured(0, 3, 1))
    energies = [m.values[ENERGY] for m in bench.measured.of_iteration(state, 0)]
    assert energies == [2.0, 8.0]
    by_seed = bench.measured.by_seed(state, 0)
    assert {seed: score.log_objective for seed, score in by_seed.items()} == {
        1: pytest.approx(LN2),
        3: pytest.approx(3 * LN2),
    }
    assert bench.measured.scores(state, 0) == list(by_seed.values())
    bench.write(JobKey(0, 2, "sealed"), {"split": "sealed"})
    sealed = bench.state(*ended(0, 2, "sealed"))
    assert bench.measured.of_iteration(sealed, 0, "sealed") == [MetricsFile(split="sealed")]
    assert bench.measured.of_iteration(sealed, 0) == []


def test_the_baseline_is_the_first_incumbent(bench: Bench) -> None:
    found = bench.judge(0, *measured(0, *SEEDS))
    gate = {"metric": FORCE, "bound": "≤ 16", "value": 8.0, "passed": True, "violation": 0.0, "reason": None}
    scores = found.pop("scores")
    assert scores == {
        seed: {"feasible": True, "violation": 0.0, "log_objective": pytest.approx(log), "gates": [gate]}
        for seed, log in (("1", LN2), ("2", 2 * LN2), ("3", 3 * LN2))
    }
    assert found == {
        "iteration": 0,
        "title": "a candidate",
        "violation": 0.0,
        "log_objective": pytest.approx(2 * LN2),  # the cube root of 2·4·8 is 4
        "effects": [],
        "verdict": "accepted",
        "reason": "the baseline; it passes every gate",
        "gain": None,
        "threshold": None,
        "measure": None,
        "incumbent": 0,
    }


def test_a_baseline_that_fails_gates_is_told_so(bench: Bench) -> None:
    bench.candidate(0, {1: (8.0, 2.0), 2: (32.0, 2.0), 3: (64.0, 2.0)})
    found = bench.judge(0, *measured(0, *SEEDS))
    assert (found["verdict"], found["reason"]) == ("accepted", f"the baseline; it fails: {FORCE}")
    assert found["violation"] == pytest.approx(LN2)  # (0 + ln 2 + 2·ln 2)/3
    assert (found["incumbent"], found["log_objective"]) == (0, pytest.approx(LN2))


def test_a_mean_objective_is_of_all_seeds_or_none(bench: Bench) -> None:
    bench.candidate(0, {1: (8.0, 2.0), 2: (8.0, None), 3: (8.0, 2.0)})
    assert bench.judge(0, *measured(0, *SEEDS))["log_objective"] is None


def test_a_candidate_is_judged_against_the_incumbent_seed_by_seed(bench: Bench) -> None:
    """ln 4 → ln ½ with s = ln 2 on both sides: t(0.95, 4) of a table times s times sqrt(1/3 + 1/3)."""
    better(bench, 1)
    found = bench.judge(1, *measured(0, *SEEDS), verdict(0), *measured(1, *SEEDS))
    assert (found["verdict"], found["incumbent"], found["measure"]) == ("accepted", 1, "objective")
    assert found["gain"] == pytest.approx(3 * LN2)
    assert found["threshold"] == pytest.approx(2.131847 * LN2 * math.sqrt(2 / 3), rel=1e-6)
    assert found["reason"].startswith("objective 4 → 0.5; gain +2.079, needed > 1.207 ")
    assert (found["iteration"], found["effects"]) == (1, [])


@pytest.mark.parametrize(
    ("digests", "of"),
    [
        ({1: "a", 2: "b", 3: "c"}, None),
        ({1: "a", 2: "a", 3: "b"}, "1 and 2"),
        ({1: "a", 2: "b", 3: "a"}, "1 and 3"),
        ({1: None, 2: None, 3: "a"}, None),
        ({1: None, 2: "a", 3: "a"}, "2 and 3"),
    ],
)
def test_seeds_with_the_same_weights_make_a_candidate_invalid(
    bench: Bench, digests: Mapping[int, str | None], of: str | None
) -> None:
    """Their scatter would be zero, and any gain beyond it."""
    for seed, digest in digests.items():
        content = metrics_of({FORCE: 4.0, ENERGY: 0.25 * seed}) | {"model": {"weights_digest": digest}}
        bench.write(JobKey(1, seed, "evaluate"), content)
    found = bench.judge(1, *measured(0, *SEEDS), verdict(0), *measured(1, *SEEDS))
    if of is None:
        assert found["verdict"] == "accepted"
    else:
        assert found.items() >= (INVALID | {"incumbent": 0, "effects": []}).items()
        assert found["reason"] == f"seeds {of} gave the same weights: a training must begin from its --seed"


def test_a_candidate_s_weights_may_be_those_of_another_candidate(bench: Bench) -> None:
    """Which is then no gain; a seed that failed before says why itself."""
    for number in (0, 1):
        for seed in SEEDS:
            content = metrics_of({FORCE: 4.0, ENERGY: 0.5}) | {"model": {"weights_digest": f"of {seed}"}}
            bench.write(JobKey(number, seed, "evaluate"), content)
    found = bench.judge(1, *measured(0, *SEEDS), verdict(0), *measured(1, *SEEDS))
    assert (found["verdict"], found["gain"]) == ("reverted", pytest.approx(0.0))


def test_a_worse_candidate_leaves_the_incumbent(bench: Bench) -> None:
    better(bench, 1)
    bench.candidate(2, dict.fromkeys(SEEDS, (4.0, 0.5)))
    events = [*measured(0, *SEEDS), verdict(0), *measured(1, *SEEDS), verdict(1, "accepted", 1)]
    found = bench.judge(2, *events, *measured(2, *SEEDS))
    assert (found["verdict"], found["incumbent"], found["gain"]) == ("reverted", 1, pytest.approx(0.0))


def test_the_hypothesis_is_graded_from_the_samemetrics_of(bench: Bench) -> None:
    better(bench, 1)
    jobs = measured(1, *SEEDS)[1:]
    found = bench.judge(1, *measured(0, *SEEDS), verdict(0), proposed(1, HYPOTHESIS), *jobs)
    assert found["effects"] == [
        {"metric": FORCE, "direction": "decrease", "before": 8.0, "after": 4.0, "grade": "held"}
    ]


def test_a_candidate_without_an_incumbent_is_a_fault_of_the_controller(bench: Bench) -> None:
    better(bench, 1)
    with pytest.raises(AssertionError, match=r"^a candidate is judged only against an incumbent$"):
        bench.judge(1, *measured(1, *SEEDS))


# A job that ended by its own fault, and why the candidate cannot be judged then.
@pytest.mark.parametrize(
    ("jobs", "reason"),
    [
        (ended(1, 2, "train", "failed"), "training with seed 2: train 1 failed"),
        (ended(1, 2, "evaluate", "time_limit"), "evaluation with seed 2: evaluate 1 time_limit"),
        (
            [*ended(1, 3, "train", "failed"), *ended(1, 1, "train", "protected_changed")],
            "training with seed 1: train 1 protected_changed",
        ),
        (
            [*ended(1, 1, "train", "lost"), *ended(1, 1, "train", "failed", 2)],
            "training with seed 1: train 2 failed",
        ),
    ],
)
def test_a_candidate_that_failed_is_invalid_with_the_reason(
    bench: Bench, jobs: list[Event], reason: str
) -> None:
    found = bench.judge(1, *measured(0, *SEEDS), verdict(0), proposed(1), *jobs)
    assert {key: found[key] for key in INVALID} == INVALID
    assert (found["reason"], found["incumbent"], found["effects"]) == (reason, 0, [])
    assert (found["scores"], found["violation"], found["log_objective"]) == ({}, None, None)


def test_faults_of_other_jobs_are_not_the_candidates(bench: Bench) -> None:
    better(bench, 1)
    others = [
        *ended(0, 2, "sealed", "failed"),
        *ended(1, 1, "smoke", "failed", revision=1),
        *ended(1, 2, "train", "lost"),
        *ended(1, 2, "train", "ok", 2),
        *ended(2, 1, "train", "failed"),
    ]
    jobs = [event for event in measured(1, *SEEDS) if event[1].get("seed") != 2 or "train" not in str(event)]
    found = bench.judge(1, *measured(0, *SEEDS), verdict(0), *others, *jobs)
    assert found["verdict"] == "accepted"


@pytest.mark.parametrize("seeds", [(), (1,), (1, 3)])
def test_seeds_that_no_budget_was_left_for_make_it_invalid(bench: Bench, seeds: tuple[int, ...]) -> None:
    better(bench, 1)
    running = [submitted(1, 2, "train")]
    found = bench.judge(1, *measured(0, *SEEDS), verdict(0), *measured(1, *seeds), *running)
    assert {key: found[key] for key in INVALID} == INVALID
    assert found["reason"] == "a budget was used up before every seed was measured"
    assert (list(found["scores"]), found["incumbent"]) == ([str(seed) for seed in seeds], 0)


def _sealed(bench: Bench, number: int, energies: Mapping[int, float | None]) -> list[Event]:
    for seed, energy in energies.items():
        bench.write(JobKey(number, seed, "sealed"), metrics_of({FORCE: 1.0, ENERGY: energy}))
    return [event for seed in energies for event in ended(number, seed, "sealed")]


def test_the_sealed_split_is_compared_for_baseline_and_incumbent(bench: Bench) -> None:
    better(bench, 2)
    events = [*measured(0, *SEEDS), verdict(0), *measured(2, *SEEDS), verdict(2, "accepted", 2)]
    events += _sealed(bench, 0, {1: 1.0, 2: 2.0, 3: 6.0}) + _sealed(bench, 2, {1: 1.0, 2: None, 3: 3.0})
    found = told(sealed_summary(bench.state(*events), bench.measured))
    assert found == {
        "0": {
            ENERGY: {"sealed": 3.0, "test": pytest.approx(14 / 3)},
            FORCE: {"sealed": 1.0, "test": 8.0},
        },
        "2": {
            ENERGY: {"sealed": None, "test": pytest.approx(1.75 / 3)},
            FORCE: {"sealed": 1.0, "test": 4.0},
        },
    }
    assert list(found) == ["0", "2"] and list(found["0"]) == [ENERGY, FORCE]


def test_without_a_better_one_the_baseline_alone_is_compared(bench: Bench) -> None:
    events = [*measured(0, *SEEDS), verdict(0)]
    assert told(sealed_summary(bench.state(*events), bench.measured)) == {"0": {}}
    nothing = [*measured(0, *SEEDS), verdict(0, "invalid", None), *_sealed(bench, 0, {1: 1.0})]
    assert told(sealed_summary(bench.state(*nothing), bench.measured))["0"][ENERGY]["sealed"] == 1.0
    unmeasured = told(sealed_summary(bench.state(*_sealed(bench, 0, {1: 1.0})), bench.measured))
    assert unmeasured["0"][ENERGY] == {"sealed": 1.0, "test": None}


def test_a_candidate_that_a_person_dropped_is_invalid_for_that_reason(bench: Bench) -> None:
    better(bench, 1)
    gone = ("candidate_dropped", {"iteration": 1, "why": "it hangs"})
    begun = [*measured(0, *SEEDS), verdict(0), proposed(1)]
    for jobs in (measured(1, *SEEDS), ended(1, 1, "train", "failed"), ()):
        found = bench.judge(1, *begun, *jobs, gone)
        assert {key: found[key] for key in INVALID} == INVALID
        assert (found["reason"], found["incumbent"]) == ("dropped by a person: it hangs", 0)
