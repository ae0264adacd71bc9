import numpy as np
import pytest
from ase import Atoms

from mlipilot.evaluation.declaration import DynamicsLimits
from mlipilot.evaluation.dynamics import BrokenError, run_nve, thermalised
from mlipilot.evaluation.ensemble import Ensemble

from .oracles import PairSprings, bench, dimer, triangle

LIMITS = DynamicsLimits()


def members() -> dict[str, Atoms]:
    return {
        "one": thermalised(dimer("OH").atoms, 300.0, 1),
        "two": thermalised(triangle("C3").atoms, 600.0, 2),
    }


def test_members_move_as_if_they_were_alone() -> None:
    together = Ensemble(bench(PairSprings(20.0, 1.0)), members())
    run_nve(together.atoms, 0.5, 30, 300.0, LIMITS)
    for name, found in zip(together.names, together.members, strict=True):
        alone = members()[name]
        alone.calc = PairSprings(20.0, 1.0)
        run_nve(alone, 0.5, 30, 300.0, LIMITS)
        np.testing.assert_allclose(found.positions, alone.positions, atol=1e-10)


def test_energies_are_those_of_each_member() -> None:
    together = Ensemble(bench(PairSprings(20.0, 1.1)), members())
    alone = list(members().values())
    for atoms in alone:
        atoms.calc = PairSprings(20.0, 1.1)
    assert together.total_energies_ev() == pytest.approx([atoms.get_total_energy() for atoms in alone])
    assert together.total_energies_ev().sum() == pytest.approx(together.atoms.get_total_energy())


def test_one_hot_member_is_found_among_cold_ones() -> None:
    cold = {str(seed): thermalised(triangle("C3").atoms, 10.0, seed) for seed in range(20)}
    hot = thermalised(dimer("OH").atoms, 20_000.0, 1)
    together = Ensemble(bench(PairSprings(20.0, 1.0)), {**cold, "hot": hot})
    assert together.atoms.get_temperature() < 5 * 300
    with pytest.raises(BrokenError, match="above 5 × 300 K"):
        together.check(300.0, LIMITS)
    Ensemble(bench(PairSprings(20.0, 1.0)), cold).check(300.0, LIMITS)


def test_the_member_that_broke_is_named() -> None:
    def why(springs: PairSprings) -> str:
        stretched, hot = dimer("OH", 1.5).atoms, thermalised(dimer("OH").atoms, 20_000.0, 1)
        together = Ensemble(bench(springs), {"hot": hot, "stretched": stretched})
        outcome, _ = run_nve(together.atoms, 0.5, 3, 300.0, LIMITS)
        return together.why_broken(outcome, LIMITS)

    assert why(PairSprings(20.0, 1.0)).startswith("hot: the dynamics broke at step 0: ")
    assert why(PairSprings(200.0, 1.0)).startswith(
        "stretched: the dynamics broke at step 0: a force of 100 eV/Å"
    )
