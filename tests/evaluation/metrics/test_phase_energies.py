import pytest
from ase.calculators.emt import EMT

from mlipilot.evaluation.bench import Bench
from mlipilot.evaluation.metric_settings import EvaluationSettings
from mlipilot.evaluation.metrics.phase_energies import above_fcc_mev_per_atom, measure

from ..oracles import AgainstEmt, AlteredEmt


def test_energies_too_large_by_a_tenth_differ_by_a_tenth_too_much() -> None:
    bench = AgainstEmt(AlteredEmt(1.1))
    found = measure(bench).values
    for phase, about in (("hcp", -0.94), ("bcc", 32.9)):
        truth = bench.truth(f"{phase}_fcc_energy_mev_per_atom")
        assert truth == pytest.approx(about, rel=0.01)
        name = f"{phase}_fcc_energy_error_mev_per_atom"
        assert found[name] == pytest.approx(0.1 * abs(truth), rel=1e-4)


def test_the_order_of_phases_does_not_depend_on_which_of_them_is_on_the_bench() -> None:
    settings = EvaluationSettings.model_validate({"crystal": {"structure": "bcc"}})
    settings = settings.model_copy(
        update={"crystal": settings.crystal.model_copy(update={"lattice_constant_guess_a": 2.86})}
    )
    found = above_fcc_mev_per_atom(Bench(EMT(), settings))
    assert found["bcc"] == pytest.approx(32.9, rel=0.1)  # at bcc's own volume
