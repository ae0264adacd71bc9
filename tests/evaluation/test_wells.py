import numpy as np
import pytest

from mlipilot.evaluation.metrics_file import MeasurementError
from mlipilot.evaluation.wells import extra_wells, finite, tortuosity


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
def test_every_well_beyond_one_counts(energies: list[float], extra: int) -> None:
    assert extra_wells(np.array(energies), 0.05) == extra


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
