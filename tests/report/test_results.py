"""The final results: the same seeds of both, no ratio without them, sealed data beside the test split."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from mlipilot.report.results import ResultRow, paired, result_rows, results_note
from mlipilot.report.view import IterationView, LineageView, SeedView

Times = dict[int, float | None]


def trained(number: int, times: Times) -> IterationView:
    seeds = [SeedView(seed, training_s=time_s) for seed, time_s in times.items()]
    return IterationView(number, "a title", "accepted", "", seeds=seeds)


def of(before: Times, after: Times) -> tuple[float, float | None] | None:
    return paired(trained(0, before), trained(1, after), lambda seed: seed.training_s)


def rows_of(view: LineageView) -> dict[str, ResultRow]:
    return {row.label: row for row in result_rows(view)}


def test_the_interval_is_students_of_the_paired_differences() -> None:
    found = of({1: 5.0, 2: 50.0, 3: 500.0}, {3: 503.0, 1: 6.0, 2: 52.0})
    assert found is not None and found[1] is not None
    assert found[0] == 2.0  # of 1, 2 and 3, whose deviation is 1; t is 4.303 for two degrees of freedom
    assert found[1] == pytest.approx(4.302653 / math.sqrt(3))


def test_one_seed_has_no_interval() -> None:
    assert of({1: 5.0}, {1: 7.0}) == (2.0, None)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({1: 5.0, 2: None}, {1: 6.0, 2: 7.0}),
        ({1: 5.0, 2: 6.0}, {1: 6.0, 2: None}),
        ({1: 5.0, 2: 6.0}, {1: 6.0}),
        ({1: 5.0}, {1: 6.0, 2: 7.0}),
        ({1: 5.0}, {2: 6.0}),
        ({}, {}),
    ],
)
def test_seeds_that_one_of_both_lacks_give_no_comparison(before: Times, after: Times) -> None:
    assert of(before, after) is None


def test_nothing_is_compared_with_itself() -> None:
    only = trained(0, {1: 5.0, 2: 6.0})
    assert paired(only, only, lambda seed: seed.training_s) is None


def test_what_counts_comes_first_and_cost_last(confirmed: LineageView) -> None:
    labels = [row.label for row in result_rows(confirmed)]
    assert labels[:3] == ["seeds that pass every gate", "total gate violation", "objective"]
    assert labels[3:6] == ["energy MAE", "force MAE", "stress MAE"]
    assert labels[-3:] == ["throughput", "relative cost", "a training's CPU time"]
    assert len(set(labels)) == len(labels)


def test_the_results_are_of_the_fresh_seeds_and_sealed_data(confirmed: LineageView) -> None:
    found = confirmed.state.confirmed
    assert found is not None and (found.whole.confirmed, found.incumbent) == (True, 2)
    rows = rows_of(confirmed)
    passing = rows["seeds that pass every gate"]
    assert (passing.baseline_test, passing.incumbent_test) == ("0 of 3", "3 of 3")
    assert passing.interval == "in ≥ 37% of trainings"  # 0.05 to the power of 1/3
    force = rows["force MAE"]
    assert confirmed.baseline is not None and confirmed.incumbent is not None
    before, after = (one.values("force_mae_mev_per_a") for one in (confirmed.baseline, confirmed.incumbent))
    assert len(before) == len(after) == 3
    ratio = math.exp(sum(math.log(b / a) for a, b in zip(before, after, strict=True)) / 3)
    assert force.change == f"{ratio:.3f}"
    low, high = (float(end) for end in force.interval.split(" to "))
    assert low < ratio < high
    sealed = confirmed.state.sealed_check
    assert sealed is not None
    errors = sealed.of(2)["force_mae_mev_per_a"]
    assert errors.sealed is not None and force.incumbent_sealed == f"{errors.sealed:.1f}"
    assert errors.test is not None and errors.sealed > 1.05 * errors.test
    assert rows["relative cost"].incumbent_sealed == rows["objective"].baseline_sealed == ""
    assert "fresh seeds, which chose nothing. The share" in results_note(confirmed)
    none = found.model_copy(update={"whole": found.whole.model_copy(update={"passed": 0})})
    without = replace(confirmed, state=replace(confirmed.state, confirmed=none))
    assert rows_of(without)[passing.label].interval == "" and "Clopper" not in results_note(without)


def test_a_violation_that_goes_to_zero_is_a_difference(confirmed: LineageView) -> None:
    row = rows_of(confirmed)["total gate violation"]
    assert row.incumbent_test == "0" and row.unit == "ln units"
    assert confirmed.baseline is not None
    gone = sum(confirmed.baseline.violations) / 3
    assert row.change == f"difference −{gone:.2f}"
    assert all(end.startswith("−") for end in row.interval.split(" to "))


def test_a_training_is_told_in_the_seconds_of_its_machine(confirmed: LineageView) -> None:
    assert confirmed.baseline is not None
    assert [seed.training_s for seed in confirmed.baseline.seeds] == [
        31.0 + seed.seed % 10 for seed in confirmed.baseline.seeds
    ]
    on_gpus = confirmed.spec.model_copy(
        update={"jobs": confirmed.spec.jobs.model_copy(update={"device": "cuda"})}
    )
    assert result_rows(replace(confirmed, spec=on_gpus))[-1].label == "a training's GPU time"


def test_seeds_of_the_search_are_called_so_and_show_no_pass_rate(view: LineageView) -> None:
    row = rows_of(view)["seeds that pass every gate"]
    assert (row.baseline_test, row.incumbent_test, row.interval) == ("0 of 3", "3 of 3", "")
    assert "These seeds also chose the model" in results_note(view)


def test_where_the_baseline_stands_there_is_no_ratio(view: LineageView) -> None:
    stands = replace(view, state=replace(view.state, incumbent=0))
    assert {(row.change, row.interval) for row in result_rows(stands)} == {("", "")}
    assert not any(word in results_note(stands) for word in ("chose", "Ratios"))


def test_before_the_baseline_is_measured_there_are_no_results(view: LineageView) -> None:
    bare = replace(view.iterations[0], seeds=[replace(s, score=None) for s in view.iterations[0].seeds])
    assert result_rows(replace(view, iterations=[bare], state=replace(view.state, incumbent=0))) == []
    assert result_rows(replace(view, iterations=[], state=replace(view.state, incumbent=None))) == []
