import numpy as np
import pytest

from mlipilot.evaluation.metrics.nve import drift_mev_per_atom_per_ps


@pytest.mark.parametrize("timestep_fs", [0.5, 4.0])
def test_a_linear_drift_is_found_in_mev_per_atom_and_picosecond(timestep_fs: float) -> None:
    atoms, drift = 32, -0.7
    times_ps = np.arange(500) * timestep_fs / 1000
    energies_ev = 100.0 + drift * 1e-3 * atoms * times_ps
    assert drift_mev_per_atom_per_ps(energies_ev, timestep_fs, atoms) == pytest.approx(drift, rel=1e-6)


def test_whole_oscillations_do_not_count_as_drift() -> None:
    energies_ev = 1e-3 * np.cos(2 * np.pi * np.arange(1001) / 10)
    assert drift_mev_per_atom_per_ps(energies_ev, 4.0, 1) == pytest.approx(0, abs=1e-3)
