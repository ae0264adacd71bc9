import math

import numpy as np
import pytest
from ase import Atoms

from mlipilot.evaluation.metrics.pair import distances_a, measure, wrong_share_of_wall
from mlipilot.evaluation.metrics_file import MeasurementError

from ..oracles import AgainstEmt, AlteredEmt


def apart_a(pair: Atoms) -> float:
    return float(pair.get_distance(0, 1))


def test_a_bond_that_does_not_exist_is_counted() -> None:
    well = AlteredEmt(more_ev=lambda pair: -2.0 * math.exp(-((apart_a(pair) - 4.5) ** 2) / 0.1))
    found = measure(AgainstEmt(well)).values
    assert found == {"dimer_extra_minima": 1, "dimer_wall_wrong_fraction": 0}


def test_a_pair_that_is_upside_down_has_no_wall() -> None:
    bench = AgainstEmt(AlteredEmt(-1.0))
    measured = measure(bench)
    assert measured.values == {"dimer_extra_minima": 1, "dimer_wall_wrong_fraction": 1}
    np.testing.assert_allclose(measured.curves["pair_model_ev"], -measured.curves["pair_reference_ev"])
    assert distances_a(bench)[[0, -1]].tolist() == [1.2, 6.0]


def test_a_wall_is_as_wrong_as_the_share_of_it_that_falls_inwards() -> None:
    truth = np.array([3.0, 2.0, 1.0, 0.0, 1.0])
    assert wrong_share_of_wall(truth + 7, truth) == 0
    assert wrong_share_of_wall(np.array([1.0, 2.0, 3.0, 0.0, -5.0]), truth) == pytest.approx(2 / 3)
    assert wrong_share_of_wall(np.zeros(5), truth) == 1  # flat is no wall


def test_an_energy_that_is_no_number_is_a_failure() -> None:
    with pytest.raises(MeasurementError, match="two atoms at some distance is not a finite number"):
        measure(AgainstEmt(AlteredEmt(more_ev=lambda pair: math.inf if apart_a(pair) < 2 else 0.0)))
