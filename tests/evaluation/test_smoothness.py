import numpy as np
import pytest

from mlipilot.evaluation.smoothness import minima, roughness

X = np.arange(13.0) - 6


def test_what_is_smooth_has_no_roughness() -> None:
    assert roughness(5 + 3 * X - 0.2 * X**2 + 0.01 * X**3) == pytest.approx(0, abs=1e-12)


def test_a_kink_a_step_and_one_bad_point_have() -> None:
    assert roughness(6 * np.abs(X)) == pytest.approx(4)  # a slope that turns by 12: a third of it
    assert roughness(np.where(X < 0, 0.0, 10.0)) == pytest.approx(5)  # half of a step
    assert roughness(np.where(X == 2, 7.0, 0.0)) == pytest.approx(7)


def test_minima_inside_and_at_the_ends_are_told_apart() -> None:
    assert minima(-X) == (1, 0)  # a parabola's, whose middle point is exactly zero
    assert minima(X) == (0, 2)  # a hill
    assert minima(np.ones(5)) == (0, 1)  # down to the last point
    assert minima(-np.ones(5)) == (0, 1)
    assert minima(np.cos(X * np.pi / 2)) == (3, 1)  # -+-+-+-, zeros between
    assert minima(np.zeros(5)) == (0, 0)
