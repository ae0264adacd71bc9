import numpy as np
import pytest
from ase import Atoms

from mlipilot.evaluation.metrics import scan
from mlipilot.evaluation.reference_molecules import Scan

from ..oracles import Told

X = np.arange(13.0) - 6


def test_a_constant_shift_is_no_error() -> None:
    deviations = np.array([1.0, -1.0, 1.0, -1.0, 0.0])
    assert scan.profile_error(deviations + 1e4) == pytest.approx(0.8)


def test_scans_count_alike_and_the_roughest_decides() -> None:
    reference = 0.01 * X**2
    frames = [Atoms("H2", positions=[[0, 0, 0], [0, 0, 2 + 0.1 * x]]) for x in X]
    scans = [Scan("one", frames, X, reference), Scan("two", frames, X, reference)]
    deviations = {"one": np.where(X < 0, -0.002, 0.002), "two": np.zeros(13)}

    class Both(Told):
        def predict(self, structures):  # type: ignore[no-untyped-def]  # as the base class has it
            self.energies_ev = (reference + deviations[names.pop(0)] + 7.0).tolist()
            return super().predict(structures)

    names = ["one", "two"]
    found = scan.measure(Both([], scans))
    spread = 1000 * float(np.abs(deviations["one"] - deviations["one"].mean()).mean())
    assert found.values["scan_energy_mae_mev"] == pytest.approx(spread / 2)
    assert found.values["scan_roughness_mev"] == pytest.approx(2.0)
    np.testing.assert_allclose(
        found.curves["scan_1_model_mev"], found.curves["scan_1_reference_mev"], atol=1e-9
    )


def test_a_model_without_a_number_has_no_scan() -> None:
    frames = [Atoms("H2", positions=[[0, 0, 0], [0, 0, 2 + 0.1 * x]]) for x in X]
    found = scan.measure(Told([*X[:-1], np.nan], [Scan("one", frames, X, X)]))
    assert not np.isfinite(found.values["scan_energy_mae_mev"])
    assert not np.isfinite(found.values["scan_roughness_mev"])
