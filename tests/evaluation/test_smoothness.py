from itertools import pairwise

import numpy as np
import pytest

from mlipilot.evaluation.lazily import Array
from mlipilot.evaluation.metrics_file import MeasurementError
from mlipilot.evaluation.smoothness import extra_wells, finite, roughness, tortuosity, wells, wells_of_force

X = np.arange(13.0) - 6


def test_what_is_smooth_has_no_roughness() -> None:
    assert roughness(5 + 3 * X - 0.2 * X**2 + 0.01 * X**3) == pytest.approx(0, abs=1e-12)


def test_a_kink_a_step_and_one_bad_point_have() -> None:
    assert roughness(6 * np.abs(X)) == pytest.approx(4)  # a slope that turns by 12: a third of it
    assert roughness(np.where(X < 0, 0.0, 10.0)) == pytest.approx(5)  # half of a step
    assert roughness(np.where(X == 2, 7.0, 0.0)) == pytest.approx(7)


def test_minima_inside_and_at_the_ends_are_told_apart_by_the_force() -> None:
    assert wells_of_force(-X) == (1, 0)  # a parabola's, whose middle point is exactly zero
    assert wells_of_force(X) == (0, 2)  # a hill
    assert wells_of_force(np.ones(5)) == (0, 1)  # down to the last point
    assert wells_of_force(-np.ones(5)) == (0, 1)
    assert wells_of_force(np.cos(X * np.pi / 2)) == (3, 1)  # -+-+-+-, zeros between
    assert wells_of_force(np.zeros(5)) == (0, 0)


def by_sign(falling: Array) -> tuple[int, int]:
    """Minima as changes of sign from − to + of the slope, zeros left out: what is meant, spelt out."""
    signs = [sign for sign in np.sign(falling) if sign]
    inside = sum(first > 0 > second for first, second in pairwise(signs))
    return inside, sum([signs[0] < 0, signs[-1] > 0]) if signs else 0


def test_without_a_depth_every_change_of_sign_counts_and_ties_do_not() -> None:
    rng = np.random.default_rng(8)
    for points in (2, 3, 7, 12):
        for _ in range(300):
            energies = rng.integers(0, 4, points).astype(float)  # with many equal neighbours
            assert wells(energies) == by_sign(-np.diff(energies)), energies
            assert extra_wells(energies) == max(0, sum(by_sign(-np.diff(energies))) - 1)
            force = rng.integers(-1, 2, points) * rng.random(points)
            assert wells_of_force(force) == by_sign(force), force


@pytest.mark.parametrize(
    ("energies", "extra"),
    [
        ([2.0, 1.0, 0.0, 1.0, 3.0], 0),
        ([2.0, 0.0, 1.0, 0.5, 3.0], 1),  # a second well, shallower
        ([0.5, 2.0, 0.0, 1.0, 3.0], 1),  # it falls again at the near end
        ([2.0, 0.0, 1.0, 0.7], 1),  # and at the far end
        ([0.5, 2.0, 0.0, 1.0, 0.9, 2.0, 0.7], 3),
        ([3.0, 2.0, 1.0, 0.0], 0),  # one well, beyond the end
        ([1.0, 1.0, 1.0], 0),
    ],
)
@pytest.mark.parametrize("depth", [0.0, 0.05])
def test_every_well_beyond_one_counts(energies: list[float], extra: int, depth: float) -> None:
    assert extra_wells(np.array(energies), depth) == extra


@pytest.mark.parametrize(("depth", "extra"), [(0.09, 1), (0.11, 0)])
def test_a_shallow_well_does_not_count(depth: float, extra: int) -> None:
    assert extra_wells(np.array([2.0, 0.0, 1.0, 0.9, 3.0]), depth) == extra


def test_one_well_is_straight_and_a_bump_lengthens_the_way() -> None:
    assert tortuosity(np.array([2.0, 1.0, 0.0, 0.3, 1.0])) == 1
    assert tortuosity(np.array([2.0, 0.0, 1.0, 0.5, 1.5])) == pytest.approx((2 + 1 + 0.5 + 1) / (2 + 1.5))
    assert tortuosity(np.zeros(4)) == np.inf  # no well at all is no number


def test_an_energy_that_is_no_number_is_told() -> None:
    with pytest.raises(MeasurementError, match="an energy of the crystal is not a finite number"):
        finite(np.array([1.0, np.nan]), "the crystal")
    assert finite(np.array([1.0]), "the crystal")[0] == 1.0
