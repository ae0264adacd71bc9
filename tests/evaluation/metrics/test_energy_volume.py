import math

import numpy as np
import pytest
from ase import Atoms

from mlipilot.evaluation.metrics.energy_volume import measure, ratios
from mlipilot.evaluation.metrics_file import MeasurementError

from ..oracles import AgainstEmt, AlteredEmt

AT_REST_A3_PER_ATOM = 3.5898308788699023**3 / 4


def dip_ev_per_atom(ratio: float) -> float:
    """A well of 0.4 eV at 1.35 V₀, and nothing near V₀."""
    return -0.4 * math.exp(-(((ratio - 1.35) / 0.04) ** 2))


def with_dip(atoms: Atoms) -> float:
    return len(atoms) * dip_ev_per_atom(atoms.get_volume() / len(atoms) / AT_REST_A3_PER_ATOM)


def test_energies_too_large_by_a_tenth() -> None:
    bench = AgainstEmt(AlteredEmt(1.1))
    found = measure(bench).values
    truth = np.array(bench.truth("energy_volume_ev_per_atom"))
    assert found["energy_volume_mae_mev_per_atom"] == pytest.approx(100 * truth.mean(), rel=1e-4)
    assert found["energy_volume_extra_minima"] == 0
    assert found["energy_volume_tortuosity"] == pytest.approx(1.0)


def test_another_zero_of_energy_and_another_lattice_constant_are_no_error_here() -> None:
    found = measure(AgainstEmt(AlteredEmt(more_ev=lambda atoms: 5.0 * len(atoms)))).values
    assert found["energy_volume_mae_mev_per_atom"] < 1e-6


def test_a_well_that_should_not_be_is_counted_and_measured() -> None:
    bench = AgainstEmt(AlteredEmt(more_ev=with_dip))
    measured = measure(bench)
    dips = [dip_ev_per_atom(float(ratio)) for ratio in ratios(bench)]
    assert measured.values["energy_volume_extra_minima"] == 1
    assert measured.values["energy_volume_mae_mev_per_atom"] == pytest.approx(-1000 * np.mean(dips), rel=1e-4)
    high, low = (float(end) for end in measured.curves["energy_volume_model_ev_per_atom"][[0, -1]])
    assert measured.values["energy_volume_tortuosity"] > 1 + 0.2 / (high + low)


def test_a_crystal_that_falls_in_on_itself_has_a_well_more() -> None:
    def hole(atoms: Atoms) -> float:
        ratio = atoms.get_volume() / len(atoms) / AT_REST_A3_PER_ATOM
        return -30 * len(atoms) * max(0.0, 0.75 - float(ratio))

    assert measure(AgainstEmt(AlteredEmt(more_ev=hole))).values["energy_volume_extra_minima"] == 1


def test_an_energy_that_is_no_number_is_a_failure() -> None:
    def broken(atoms: Atoms) -> float:
        return math.nan if atoms.get_volume() / len(atoms) > 15 else 0.0

    with pytest.raises(MeasurementError, match="the crystal at some volume is not a finite number"):
        measure(AgainstEmt(AlteredEmt(more_ev=broken)))
