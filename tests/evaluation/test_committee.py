"""Calibration of a committee, by laws: of members drawn like the truth, of one that is too sure, of none."""

from __future__ import annotations

import numpy as np
import pytest

from mlipilot.evaluation.committee import calibration, reliability, residuals, spread_bins
from mlipilot.evaluation.lazily import Array

ATOMS = 4000


def drawn(members: int, bias: float = 0.0, sure: float = 1.0) -> tuple[list[Array], Array]:
    """Members and a truth around the same unknown forces, by noise that is different for each atom."""
    rng = np.random.default_rng(5)
    centre = rng.standard_normal((ATOMS, 3))
    noise = 0.01 * np.exp(rng.standard_normal((ATOMS, 1)))
    truth = centre + bias + noise * rng.standard_normal((ATOMS, 3))
    return [centre + sure * noise * rng.standard_normal((ATOMS, 3)) for _ in range(members)], truth


@pytest.mark.parametrize("members", [2, 3, 8])
def test_a_truth_that_is_one_more_member_is_told_well(members: int) -> None:
    found = calibration(*drawn(members))
    assert found.miscalibration_area < 0.01
    assert found.force_spread_mev_per_a == pytest.approx(found.force_rmse_mev_per_a, rel=0.1)
    assert found.spearman is not None and found.spearman > 0.6
    assert found.ence is not None
    assert found.ence < {2: 1.2, 3: 0.6, 8: 0.25}[members], "sorted by a spread that few members guess"


def test_members_that_are_all_wrong_alike_are_too_sure() -> None:
    found = calibration(*drawn(3, bias=1.0))
    assert found.miscalibration_area > 0.4
    assert found.ence is not None and found.ence > 3
    assert found.force_mae_mev_per_a == pytest.approx(1000, rel=0.01)
    assert found.spearman is not None and abs(found.spearman) < 0.2


def test_members_that_differ_too_much_are_not_sure_enough() -> None:
    found = calibration(*drawn(3, sure=100.0))
    # an error of the mean alone, s/√3 where σ is 2 s/√3, is half as large as it should be
    assert found.force_spread_mev_per_a == pytest.approx(2 * found.force_rmse_mev_per_a, rel=0.05)
    assert 0.1 < found.miscalibration_area < 0.3


def test_figures_by_hand_of_two_members_and_one_atom() -> None:
    """m = 1, s = √2, σ = √2·√(3/2) = √3 in each component; |F − m| / σ = 1, of which Student's t says 1/2."""
    found = calibration([np.zeros((1, 3)), np.full((1, 3), 2.0)], np.full((1, 3), 1 + np.sqrt(3)))
    assert found.force_mae_mev_per_a == pytest.approx(1000 * np.sqrt(3))
    assert found.force_rmse_mev_per_a == pytest.approx(1000 * np.sqrt(3))
    assert found.force_spread_mev_per_a == pytest.approx(1000 * np.sqrt(3))
    assert found.ence == pytest.approx(0)
    assert found.spearman is None
    assert found.miscalibration_area == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("members", [2, 3, 8])
def test_of_a_truth_that_is_one_more_member_each_interval_holds_its_share(members: int) -> None:
    levels, shares = reliability(residuals(*drawn(members)))
    assert levels[[0, -1]] == pytest.approx([0.01, 0.99]) and len(levels) == 99
    assert shares == pytest.approx(levels, abs=0.02)
    _, of_sure = reliability(residuals(*drawn(members, bias=1.0)))
    assert (of_sure < shares).all()


def test_reliability_by_hand_of_an_error_of_which_students_t_says_one_half() -> None:
    found = residuals([np.zeros((1, 3)), np.full((1, 3), 2.0)], np.full((1, 3), 1 + np.sqrt(3)))
    levels, shares = reliability(found)
    assert (shares[levels < 0.499] == 0).all() and (shares[levels > 0.501] == 1).all()


def test_bins_are_tenths_of_the_atoms_by_rising_spread() -> None:
    """Members at ± s around zero: their σ is s √2 √(3/2) = s √3. The truth is beside by twice s."""
    s = np.linspace(1, 20, 20)[::-1, None] * np.ones(3)
    sigmas, errors = spread_bins(residuals([s, -s], 2 * s))
    pairs = np.sqrt([(k**2 + (k + 1) ** 2) / 2 for k in range(1, 20, 2)])
    assert sigmas == pytest.approx(np.sqrt(3) * pairs)
    assert errors == pytest.approx(2 * pairs)
    assert len(spread_bins(residuals([s[:3], -s[:3]], s[:3]))[0]) == 3, "no bin without an atom"


def test_without_any_spread_an_error_is_beyond_everything_and_none_within() -> None:
    truth = np.ones((20, 3))
    wrong = calibration([np.zeros((20, 3))] * 3, truth)
    assert (wrong.ence, wrong.spearman) == (None, None)
    assert wrong.miscalibration_area == pytest.approx(0.5)
    assert calibration([truth] * 3, truth).force_rmse_mev_per_a == 0


@pytest.mark.parametrize(
    ("members", "truth", "said"),
    [
        ([np.zeros((2, 3))], np.zeros((2, 3)), "no committee"),
        ([], np.zeros((2, 3)), "no committee"),
        ([np.zeros((2, 3))] * 2, np.zeros((1, 3)), "no committee"),
        ([np.zeros((2, 2))] * 2, np.zeros((2, 2)), "no committee"),
        ([np.zeros((0, 3))] * 2, np.zeros((0, 3)), "no committee"),
        ([np.zeros((1, 3)), np.full((1, 3), np.nan)], np.zeros((1, 3)), "not a finite number"),
        ([np.zeros((1, 3))] * 2, np.full((1, 3), np.inf), "not a finite number"),
    ],
)
def test_what_is_no_committee_is_refused(members: list[Array], truth: Array, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        calibration(members, truth)
