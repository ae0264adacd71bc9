"""The rule of agreement: faithful reproductions pass, others do not, and machines are not judged."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlipilot.reproduce.compare import ONE_SEED_TOLERANCE, Comparison, Values, compare_metrics

FORCE, CELL, COST = "force_mae_mev_per_a", "lattice_constant_a", "relative_cost"


def _one(recorded: list[float | None], here: list[float | None], name: str = FORCE) -> Comparison:
    seeds: list[Values] = [{name: value} for value in recorded]
    (found,) = compare_metrics(seeds, [{name: value} for value in here], [seeds])
    return found


def test_the_same_numbers_are_equal_and_so_is_the_same_failure() -> None:
    assert _one([60.0, 62.5], [60.0, 62.5]).agreement == "equal"
    assert _one([60.0, None], [60.0, None]).agreement == "equal"


def test_the_bound_is_that_of_student() -> None:
    # s = 0.1 over one degree of freedom, two means of one seed each; t(0.975, 1) = 12.706
    values: list[Values] = [{FORCE: 100 * (1 + 0.1 / math.sqrt(2))}, {FORCE: 100 * (1 - 0.1 / math.sqrt(2))}]
    (found,) = compare_metrics(values[:1], values[:1], [values])
    size = values[0][FORCE]
    assert size is not None
    assert found.allowed == pytest.approx(12.706 * 0.1 * math.sqrt(2) * size, rel=1e-4)


def test_within_the_bound_agrees_and_beyond_it_differs() -> None:
    allowed = _one([98.0, 102.0], [98.0, 102.0]).allowed
    assert allowed is not None and 20 < allowed < 50
    assert _one([98.0, 102.0], [98.0 + 0.99 * allowed, 102.0 + 0.99 * allowed]).agreement == "within noise"
    assert _one([98.0, 102.0], [98.0 + 1.01 * allowed, 102.0 + 1.01 * allowed]).agreement == "differs"
    assert _one([98.0, 102.0], [98.0 - 1.01 * allowed, 102.0 - 1.01 * allowed]).agreement == "differs"


def test_one_seed_has_the_stated_tolerance() -> None:
    assert _one([100.0], [100.0 * (1 + 0.9 * ONE_SEED_TOLERANCE)]).agreement == "within noise"
    assert _one([100.0], [100.0 * (1 + 1.1 * ONE_SEED_TOLERANCE)]).agreement == "differs"


def test_a_metric_that_fails_on_one_side_only_differs() -> None:
    assert _one([60.0, 62.0], [60.0, None]).agreement == "differs"
    assert _one([None, None], [60.0, 62.0]).agreement == "differs"
    assert _one([None, 60.0], [60.0, None]).agreement == "differs"


def test_what_never_scatters_must_be_the_same_up_to_rounding() -> None:
    name = "nve_completed_fraction"
    assert _one([1.0, 1.0], [1.0, 0.9], name).agreement == "differs"
    assert _one([0.0, 0.0], [3e-12, 0.0], "permutation_error_mev").agreement == "within noise"


def test_times_and_memory_are_not_judged() -> None:
    for name in (COST, "throughput_atom_steps_per_s", "peak_memory_mib"):
        assert _one([1.0, 1.0], [9.0, 9.0], name).agreement == "not judged"


def test_metrics_come_in_the_catalogue_s_order() -> None:
    values: Values = {COST: 1.0, "of a later version": 1.0, CELL: 3.6, FORCE: 60.0}
    found = compare_metrics([values], [values], [[values]])
    assert [metric.name for metric in found] == [FORCE, CELL, COST, "of a later version"]
    assert [metric.unit for metric in found] == ["meV/Å", "Å", "1", ""]


@pytest.mark.parametrize(("seeds", "candidates", "share"), [(2, 1, 0.95), (3, 2, 0.95), (3, 40, 0.997)])
def test_new_seeds_of_the_same_recipe_agree(seeds: int, candidates: int, share: float) -> None:
    """The worst faithful reproduction: rounding has gone its own way, so every number is a new draw."""
    rng = np.random.default_rng(7)

    def draw() -> list[Values]:
        return [{FORCE: float(rng.normal(50, 5))} for _ in range(seeds)]

    agree, trials = 0, 1000
    for _ in range(trials):
        runs = [draw() for _ in range(candidates)]
        (found,) = compare_metrics(runs[0], draw(), runs)
        agree += found.agreement == "within noise"
    slack = 3 * math.sqrt(share * (1 - share) / trials)
    assert agree / trials > share - slack


def test_another_recipe_is_told_apart() -> None:
    rng = np.random.default_rng(7)
    runs: list[list[Values]] = [[{FORCE: float(rng.normal(50, 5))} for _ in range(3)] for _ in range(8)]
    other: list[Values] = [{FORCE: float(rng.normal(75, 5))} for _ in range(3)]
    (found,) = compare_metrics(runs[0], other, runs)
    assert found.agreement == "differs"
