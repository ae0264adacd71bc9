"""Labels against PySCF's plain way, published energies, −dE/dx, and the rungs for what does not converge."""

from __future__ import annotations

from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ase.build import molecule as g2_molecule

from mlipilot.datasets.qm7_b3lyp.chosen_molecules import _free_atoms
from mlipilot.errors import InputError
from mlipilot_labels import gpu_labels, scf
from mlipilot_labels import label as labels
from mlipilot_labels.gradient import gradient
from mlipilot_labels.label import Neighbours, label_geometries
from mlipilot_labels.method import (
    EV_PER_A_PER_HARTREE_PER_BOHR,
    EV_PER_HARTREE,
    XC,
    chemistry,
)
from mlipilot_labels.records import Frame, Geometry, Molecule

pytestmark = pytest.mark.skipif(find_spec("pyscf") is None, reason="needs the extra qm")

# Bent by hand, so that no force is zero by symmetry.
WATER = [(0.0, 0.0, 0.12), (0.0, 0.80, -0.47), (0.03, -0.74, -0.50)]
HYDROGEN = [(0.0, 0.0, 0.0), (0.0, 0.1, 0.8)]


def label(numbers: list[int], *places: Any) -> list[Frame]:
    source = Molecule(name="m", origin="test", numbers=numbers, positions_a=places[0], relax=False)
    return label_geometries(source, [Geometry(kind="rattled", positions_a=place) for place in places])


@pytest.fixture(scope="module")
def water() -> Frame:
    return label([8, 1, 1], WATER)[0]


def plain(numbers: list[int], places: Any) -> tuple[float, np.ndarray]:
    """No density fitting, one grid, PySCF's own gradient: eV and eV/Å."""
    field = chemistry("pyscf.dft").KS(scf.molecule(numbers, places), xc=XC)
    field.conv_tol = 1e-9
    energy = field.kernel() * EV_PER_HARTREE
    forces = -field.nuc_grad_method().kernel() * EV_PER_A_PER_HARTREE_PER_BOHR
    return float(energy), forces - forces.mean(axis=0)


def assert_like_plain(frame: Frame) -> None:
    energy, forces = plain(frame.numbers, frame.positions_a)
    assert frame.energy_ev == pytest.approx(energy, abs=3e-4)
    np.testing.assert_allclose(np.array(frame.forces_ev_per_a), forces, atol=2e-4)


def test_a_label_is_that_of_a_plain_calculation(water: Frame) -> None:
    assert_like_plain(water)
    assert water.label["outcome"] == "default"


def test_the_frame_says_how_it_was_labelled(water: Frame) -> None:
    wanted = {
        "xc": "b3lypg",
        "basis": "6-31g(d)",
        "cartesian": True,
        "grid_level": 3,
        "unpaired_electrons": 0,
    }
    assert wanted.items() <= water.label.items()
    assert {"conv_tol_hartree", "density_fitting", "pyscf_version", "cpu_seconds"} <= water.label.keys()
    assert 0 < float(water.label["net_force_removed_mev_per_a"]) < 5
    np.testing.assert_allclose(np.sum(water.forces_ev_per_a or [], axis=0), 0, atol=3e-6)


def test_energies_are_those_of_gaussian() -> None:
    """RB3LYP/6-31G(d) of Gaussian 16 at its minimum of methane, in Hartree; its grid is finer."""
    side = 0.631259
    places = [(0, 0, 0), *((x * side, y * side, x * y * side) for x in (1, -1) for y in (1, -1))]
    energy = label([6, 1, 1, 1, 1], places)[0].energy_ev
    assert energy == pytest.approx(-40.5183833 * EV_PER_HARTREE, abs=1e-3)


def test_forces_are_minus_the_slope_of_the_energy() -> None:
    step = 2e-3
    moved = np.array([HYDROGEN, HYDROGEN, HYDROGEN])
    moved[0, 1, 2] += step
    moved[1, 1, 2] -= step
    up, down, still = label([1, 1], *[[tuple(p) for p in places] for places in moved.tolist()])
    assert up.energy_ev is not None and down.energy_ev is not None and still.forces_ev_per_a is not None
    slope = (up.energy_ev - down.energy_ev) / (2 * step)
    # grid weights do not follow the nuclei in a force: what is taken off as net force is of that size
    assert still.forces_ev_per_a[1][2] == pytest.approx(-slope, abs=2e-3)


def test_a_neighbours_orbitals_change_nothing_but_the_time() -> None:
    (alone,) = label([1, 1], HYDROGEN)
    _, again = label([1, 1], [(0.0, 0.0, 0.0), (0.0, 0.0, 0.9)], HYDROGEN)
    assert_alike(again, alone)


def assert_alike(one: Frame, other: Frame) -> None:
    assert one.energy_ev == pytest.approx(other.energy_ev, abs=2e-6)
    np.testing.assert_allclose(
        np.array(one.forces_ev_per_a), np.array(other.forces_ev_per_a), rtol=0, atol=1e-4
    )


@pytest.mark.slow
def test_an_odd_number_of_electrons_is_a_doublet() -> None:
    frame = label([8, 1], [(0, 0, 0), (0, 0, 1.05)])[0]
    assert frame.label["unpaired_electrons"] == 1
    assert_like_plain(frame)


@pytest.mark.parametrize(
    ("symbol", "energy_ev"),
    [("H", -13.613), ("C", -1029.850), ("N", -1485.320), ("O", -2042.504), ("S", -10832.989)],
)
def test_free_atoms_are_in_their_ground_states(symbol: str, energy_ev: float) -> None:
    """UB3LYP/6-31G(d) without density fitting."""
    source = next(atom for atom in _free_atoms() if atom.name == f"atom_{symbol}")
    frame = label_geometries(source, [Geometry(kind="isolated_atom", positions_a=source.positions_a)])[0]
    assert frame.energy_ev == pytest.approx(energy_ev, abs=2e-3)
    assert frame.forces_ev_per_a == [(0.0, 0.0, 0.0)]


@pytest.mark.parametrize("rung", ["level_shift", "second_order"])
def test_every_rung_leads_to_the_same_label(rung: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (first,) = label([1, 1], HYDROGEN)
    monkeypatch.setattr(scf, "RUNGS", {"no": lambda *_: None, rung: scf.RUNGS[rung]})
    (frame,) = label([1, 1], HYDROGEN)
    assert (first.label["outcome"], frame.label["outcome"]) == ("default", rung)
    assert_alike(frame, first)


def test_what_no_rung_converges_is_reported_and_has_no_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scf, "RUNGS", {"no": lambda *_: None})
    frame = label([1, 1], HYDROGEN)[0]
    assert not frame.usable
    assert frame.label["outcome"] == "not_converged"


def _singular(*_: Any) -> Any:
    raise np.linalg.LinAlgError("singular matrix")


def test_a_geometry_whose_linear_algebra_fails_costs_its_own_label(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter([_singular, gradient])
    monkeypatch.setattr(labels, "gradient", lambda *given: next(calls)(*given))
    first, second = label([1, 1], HYDROGEN, HYDROGEN)
    assert not first.usable and second.usable
    assert first.label["outcome"] == "failed"
    assert first.words == "m 0: failed (linear algebra: singular matrix)"


def test_a_rung_whose_linear_algebra_fails_is_one_that_does_not_converge(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scf, "RUNGS", {"no": _singular, "default": scf.RUNGS["default"]})
    assert label([1, 1], HYDROGEN)[0].label["outcome"] == "default"
    monkeypatch.setattr(scf, "RUNGS", {"no": _singular})
    assert label([1, 1], HYDROGEN)[0].label["outcome"] == "not_converged"


@pytest.mark.parametrize("error", [MemoryError("out of memory"), np.linalg.LinAlgError("singular")])
def test_what_fails_on_a_gpu_is_done_by_the_cpu(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    freed = []
    pool = SimpleNamespace(free_all_blocks=lambda: freed.append(True))
    cupy = SimpleNamespace(get_default_memory_pool=lambda: pool)

    def fail(_: Any) -> None:
        raise error

    monkeypatch.setattr(gpu_labels, "available", lambda: True)
    monkeypatch.setattr(gpu_labels, "_on_gpu", fail)
    monkeypatch.setattr(gpu_labels, "chemistry", lambda _: cupy)
    frame = label([1, 1], HYDROGEN)[0]
    assert frame.usable
    assert frame.label["device"] == "cpu"
    assert bool(freed) == isinstance(error, MemoryError)


def test_a_label_of_a_gpu_names_its_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_labels, "available", lambda: True)
    monkeypatch.setattr(gpu_labels, "_on_gpu", lambda _: (-1.0, np.zeros((2, 3))))
    monkeypatch.setattr(gpu_labels, "chemistry", lambda name: SimpleNamespace(__version__=f"{name} 9"))
    found = label([1, 1], HYDROGEN)[0].label
    assert (found["device"], found["gpu4pyscf_version"], found["cupy_version"]) == (
        "gpu",
        "gpu4pyscf 9",
        "cupy 9",
    )


def test_too_few_cycles_are_no_convergence(monkeypatch: pytest.MonkeyPatch) -> None:
    make = scf.mean_field

    def hasty(*given: Any) -> Any:
        field = make(*given)
        field.max_cycle = 1
        return field

    monkeypatch.setattr(scf, "mean_field", hasty)
    assert scf.RUNGS["default"](scf.molecule([1, 1], HYDROGEN), None) is None


def test_an_element_without_basis_is_named() -> None:
    with pytest.raises(InputError, match=r"6-31g\(d\) has no Fr"):
        label([87, 1], [(0, 0, 0), (0, 0, 1.6)])


def test_a_geometry_that_could_not_be_drawn_is_kept_as_such() -> None:
    source = Molecule(
        name="m", origin="test", numbers=[1, 1], positions_a=[(0, 0, 0), (0, 0, 1)], relax=False
    )
    (frame,) = label_geometries(source, [Geometry(kind="rattled", positions_a=None)])
    assert not frame.usable
    assert frame.label == {"outcome": "no_geometry"}


def test_a_guess_holds_all_electrons() -> None:
    mol = scf.molecule([8, 1, 1], WATER)
    found = scf.converge(mol)
    assert found is not None
    neighbours = Neighbours()
    neighbours.add(np.array(WATER), found.field)
    shift = np.array([[0.0, 0.0, 0.05], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    moved = scf.molecule([8, 1, 1], np.array(WATER) + shift)
    guess = neighbours.guess(np.array(WATER), moved)
    assert np.trace(guess @ moved.intor("int1e_ovlp")) == pytest.approx(10)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["CH3SH", "HCOOH", "C4H4O"])
def test_the_gradient_is_that_of_pyscf(name: str) -> None:
    atoms = g2_molecule(name)
    places = atoms.positions + np.random.default_rng(1).normal(scale=0.05, size=atoms.positions.shape)
    found = scf.converge(scf.molecule(atoms.numbers, places))
    assert found is not None
    theirs = found.field.nuc_grad_method().kernel()
    np.testing.assert_allclose(gradient(found.field, np.asarray(found.fock)), theirs, atol=2e-6)


@pytest.mark.skipif(not gpu_labels.available(), reason="no gpu4pyscf, or no GPU for it")
def test_labels_of_a_gpu_are_those_of_a_cpu(water: Frame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_labels, "available", lambda: False)
    on_cpu = label([8, 1, 1], WATER)[0]
    assert water.label["device"] == "gpu"
    assert water.energy_ev == pytest.approx(on_cpu.energy_ev, abs=1e-5)
    np.testing.assert_allclose(np.array(water.forces_ev_per_a), np.array(on_cpu.forces_ev_per_a), atol=1e-3)
