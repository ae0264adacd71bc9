"""Geometries: harmonic statistics, no clashes, the same for the same seed."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule as g2_molecule
from ase.calculators.calculator import CalculationFailed
from ase.calculators.morse import MorsePotential

from mlipilot.datasets.qm7_b3lyp import embedded
from mlipilot.errors import InputError
from mlipilot_labels import geometries as sampling
from mlipilot_labels.geometries import (
    NormalModes,
    _drawn,
    geometries,
    hessian_ev_per_a2,
    is_sound,
)
from mlipilot_labels.geometry_settings import Sampling
from mlipilot_labels.method import one_thread
from mlipilot_labels.records import Molecule, NoGeometryError

needs_tblite = pytest.mark.skipif(find_spec("tblite") is None, reason="needs the extra qm")
needs_rdkit = pytest.mark.skipif(find_spec("rdkit") is None, reason="needs the extra qm")
SPRING_EV_PER_A2 = 30.0


def dimer() -> tuple[Atoms, np.ndarray]:
    """N2 on a spring along z, and its Hessian."""
    block = np.zeros((3, 3))
    block[2, 2] = SPRING_EV_PER_A2
    atoms = Atoms("N2", [(0, 0, 0), (0, 0, 1.1)])
    return atoms, np.block([[block, -block], [-block, block]])


def test_a_dimer_has_one_mode_of_the_textbooks_wavenumber() -> None:
    atoms, hessian = dimer()
    modes = NormalModes(atoms.numbers, atoms.positions, hessian)
    reduced = atoms.get_masses()[0] / 2 * units._amu
    omega = np.sqrt(SPRING_EV_PER_A2 * units._e * 1e20 / reduced)
    assert modes.per_cm == pytest.approx([omega / (2 * np.pi * units._c * 100)], rel=1e-6)


def test_a_bend_molecule_has_three_modes_and_a_turn_changes_none() -> None:
    atoms = g2_molecule("H2O")
    atoms.calc = MorsePotential(rho0=3.0, r0=1.1)
    found = []
    for _ in range(2):
        found.append(NormalModes(atoms.numbers, atoms.positions, hessian_ev_per_a2(atoms)).per_cm)
        atoms.rotate(50, (1, 2, 3))
    assert len(found[0]) == 3
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3)


def test_displacements_have_the_variance_of_equipartition() -> None:
    """k⟨x²⟩ = kT for the bond's length; centre of mass and orientation stay."""
    atoms, hessian = dimer()
    modes = NormalModes(atoms.numbers, atoms.positions, hessian)
    rng = np.random.default_rng(0)
    drawn = np.array([modes.draw(500.0, 10.0, rng) for _ in range(4000)])
    stretch = drawn[:, 1, 2] - drawn[:, 0, 2]
    assert SPRING_EV_PER_A2 * np.var(stretch) == pytest.approx(units.kB * 500, rel=0.08)
    np.testing.assert_allclose(drawn.sum(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(drawn[:, :, :2], 0, atol=1e-12)


def test_soft_and_imaginary_modes_are_drawn_as_the_floor() -> None:
    atoms, hessian = dimer()
    floored = [
        NormalModes(atoms.numbers, atoms.positions, scale * hessian).draw(300, 5000, np.random.default_rng(1))
        for scale in (1e-6, -1.0)
    ]
    np.testing.assert_allclose(floored[0], floored[1], atol=1e-12)


@pytest.mark.parametrize(("distance_a", "sound"), [(0.74, True), (0.3, False), (1.2, False)])
def test_clashes_and_torn_bonds_are_refused(distance_a: float, sound: bool) -> None:
    start = np.array([(0, 0, 0), (0, 0, 0.74)])
    moved = np.array([(0, 0, 0), (0, 0, distance_a)])
    assert is_sound([1, 1], start, moved, Sampling()) is sound


def test_a_geometry_is_given_up_after_a_hundred_clashes() -> None:
    start = g2_molecule("H2")
    never = _drawn("rattled", start, lambda: 0 * start.positions - start.positions, {}, Sampling())
    assert never.positions_a is None
    assert never.sampling == {"refused_draws": 100}


@needs_tblite
def test_geometries_follow_the_seed_and_say_how_they_were_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    water = embedded.molecules({"water"})[0]
    options = Sampling(temperatures_k=(300.0, 900.0), normal_mode=2, rattled=1, seed=5)
    # In a new process, as labels are made: a library that is loaded has its number of threads for good.
    for name, value in one_thread().items():
        monkeypatch.setenv(name, value)
    wanted = (options, options, options.model_copy(update={"seed": 6}))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        made, again, other = fresh.map(geometries, [water] * 3, wanted)
    assert made == again != other
    assert [g.kind for g in made] == ["equilibrium", *["normal_mode"] * 4, "rattled"]
    assert [g.sampling.get("temperature_k") for g in made] == [None, 300.0, 300.0, 900.0, 900.0, None]
    assert made[1].sampling["seed"] == 5
    assert all("tblite_version" in g.sampling for g in made)
    assert made[0].positions_a is not None
    bond = np.linalg.norm(np.subtract(made[0].positions_a[1], made[0].positions_a[0]))
    assert bond == pytest.approx(0.959, abs=0.005)  # GFN2-xTB's


@needs_tblite
def test_a_molecule_that_does_not_relax_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    far = Molecule(name="apart", origin="t", numbers=[8, 8, 8, 8], relax=True,
                   positions_a=[(0, 0, 0), (0, 0, 1.0), (1, 0, 0), (0, 1.3, 0)])  # fmt: skip
    monkeypatch.setattr("mlipilot_labels.geometries._MAX_RELAXATION_STEPS", 2)
    with pytest.raises(InputError, match="apart does not relax"):
        geometries(far, Sampling())


class Failing(MorsePotential):  # type: ignore[misc]  # ASE is untyped
    """A calculator that does not get through."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def calculate(self, *_: Any, **__: Any) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "wanted", "said"),
    [
        (
            CalculationFailed("SCF not converged\nin 250 cycles"),
            NoGeometryError,
            "m fails .*: SCF not converged\n",
        ),
        (np.linalg.LinAlgError("singular"), NoGeometryError, "m fails with GFN2-xTB: singular"),
        (KeyError("a bug"), KeyError, "a bug"),
    ],
)
@pytest.mark.parametrize("relax", [True, False])
def test_a_molecule_that_the_calculator_fails_on_is_named(
    error: Exception, wanted: type[Exception], said: str, relax: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = SimpleNamespace(TBLite=lambda **_: Failing(error))
    monkeypatch.setattr(sampling, "chemistry", lambda _: fake)
    pair = Molecule(name="m", origin="t", numbers=[1, 1], positions_a=[(0, 0, 0), (0, 0, 0.74)], relax=relax)
    with pytest.raises(wanted, match=said):
        geometries(pair, Sampling())


@needs_rdkit
def test_the_embedded_molecules_are_small_and_of_five_elements() -> None:
    names = embedded.names()
    assert len(names) > 60
    for molecule in embedded.molecules(set(names)):
        assert set(molecule.numbers) <= {1, 6, 7, 8, 16}
        assert sum(number > 1 for number in molecule.numbers) <= 7
        assert sum(molecule.numbers) % 2 == 0
        assert "not QM7" in molecule.origin


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x g2:XYZ", ":2: 'XYZ' is not in ASE's G2 set"),
        ("x a b", ":2: a name and a source"),
        ("water g2:CH4", ":2: 'water' is there twice"),
        pytest.param("x C1CC", ":2: 'C1CC' is not a SMILES", marks=needs_rdkit),
        pytest.param("x C1#CC1", ":2: RDKit finds no three-dim", marks=needs_rdkit),
    ],
)
def test_a_line_that_makes_no_molecule_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"water g2:H2O\n{line}\n")
    with pytest.raises(InputError, match=message):
        embedded.molecules({"x"}, path)
