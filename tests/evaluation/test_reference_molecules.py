"""The files of reference molecules: what is read, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from mlipilot.errors import InputError
from mlipilot.evaluation.frames import bench_frames, has_stress, read_frames, spread
from mlipilot.evaluation.reference_molecules import read_molecules, read_scans


def equilibrium(**info: Any) -> list[Atoms]:
    """Molecules with one, three, seven and nine vibrations."""
    frames = [
        Atoms("N2", positions=[[0, 0, 0], [0, 0, 1.1]]),
        molecule("H2O"),
        molecule("C2H2"),
        molecule("CH4"),
    ]
    for index, (atoms, count) in enumerate(zip(frames, (1, 3, 7, 9), strict=True)):
        frequencies = np.linspace(3000, -50, count)
        atoms.info = {"molecule": str(atoms.symbols), "frequencies_per_cm": frequencies}
        if index == 1:
            atoms.info |= info
    return frames


def bond_scan(count: int = 5, name: str = "stretch") -> list[Atoms]:
    frames = []
    for x in np.arange(count) * 0.1:
        atoms = Atoms("N2", positions=[[0, 0, 0], [0, 0, 1.0 + x]])
        atoms.info = {"scan": name, "coordinate": 1.0 + x, "REF_energy": -3.0 + x}
        frames.append(atoms)
    return frames


def written(path: Path, frames: list[Atoms]) -> Path:
    ase.io.write(path, frames, format="extxyz")
    return path


def test_every_count_of_frequencies_survives_the_file_in_ascending_order(tmp_path: Path) -> None:
    found = read_molecules(written(tmp_path / "e.xyz", equilibrium()))
    assert [one.name for one in found] == ["N2", "OH2", "C2H2", "CH4"]
    for one, count in zip(found, (1, 3, 7, 9), strict=True):
        np.testing.assert_allclose(one.frequencies_per_cm, np.linspace(3000, -50, count)[::-1], atol=1e-6)


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"molecule": "N2"}, "two molecules named 'N2'"),
        ({"frequencies_per_cm": [1.0, 2.0]}, "3 atoms with 2 frequencies_per_cm"),
        ({"frequencies_per_cm": [1.0, 2.0, np.nan]}, "finite"),
        ({"frequencies_per_cm": "many"}, "finite"),
    ],
)
def test_a_wrong_molecule_is_bad_input(tmp_path: Path, info: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_molecules(written(tmp_path / "e.xyz", equilibrium(**info)))


def test_a_molecule_without_a_name_is_bad_input(tmp_path: Path) -> None:
    frames = equilibrium()
    del frames[2].info["molecule"]
    with pytest.raises(InputError, match="frame 2 has no molecule"):
        read_molecules(written(tmp_path / "e.xyz", frames))


def test_a_periodic_molecule_is_bad_input(tmp_path: Path) -> None:
    frames = equilibrium()
    frames[0].set_cell([9, 9, 9])
    frames[0].pbc = True
    with pytest.raises(InputError, match="is periodic"):
        read_molecules(written(tmp_path / "e.xyz", frames))


def test_scans_are_told_apart_by_name(tmp_path: Path) -> None:
    one, two = read_scans(written(tmp_path / "s.xyz", bond_scan() + bond_scan(7, "other")))
    assert (one.name, len(one.frames), two.name, len(two.frames)) == ("stretch", 5, "other", 7)
    assert one.coordinates == pytest.approx([1.0, 1.1, 1.2, 1.3, 1.4])
    assert one.energies_ev == pytest.approx([-3.0, -2.9, -2.8, -2.7, -2.6])


def _unevenly(frames: list[Atoms]) -> list[Atoms]:
    frames[2].info["coordinate"] += 0.03
    return frames


def _without_energy(frames: list[Atoms]) -> list[Atoms]:
    del frames[1].info["REF_energy"]
    return frames


def _with(value: Any) -> Callable[[list[Atoms]], list[Atoms]]:
    def spoil(frames: list[Atoms]) -> list[Atoms]:
        frames[3].info["REF_energy"] = value
        return frames

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda frames: frames[:4], "'stretch' has 4 frames"),
        (_unevenly, "not evenly spaced"),
        (_without_energy, "frame 1 has no REF_energy"),
        (_with(np.inf), "REF_energy is not made of finite numbers"),
        (_with("low"), "REF_energy is not made of finite numbers"),
        (_with([1.0, 2.0]), "REF_energy is not made of finite numbers"),
    ],
)
def test_a_wrong_scan_is_bad_input(
    tmp_path: Path, spoil: Callable[[list[Atoms]], list[Atoms]], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_scans(written(tmp_path / "s.xyz", spoil(bond_scan())))


@pytest.mark.parametrize(
    ("count", "available", "expected"),
    [(3, 9, [0, 4, 8]), (1, 5, [0]), (4, 2, [0, 1]), (2, 1, [0]), (3, 4, [0, 2, 3])],
)
def test_frames_are_picked_evenly_with_both_ends(count: int, available: int, expected: list[int]) -> None:
    assert spread(count, available) == expected


def test_single_atoms_stand_for_no_set(tmp_path: Path) -> None:
    path = written(tmp_path / "t.xyz", [Atoms("H"), molecule("H2O"), Atoms("O")])
    assert [str(atoms.symbols) for atoms in bench_frames(path, 5)] == ["OH2"]
    with pytest.raises(InputError, match="single atom"):
        bench_frames(written(path, [Atoms("H")]), 5)
    path.write_text("")
    with pytest.raises(InputError):
        read_frames(path)


def test_a_stress_makes_sense_where_all_frames_are_periodic_and_have_one() -> None:
    cell = Atoms("Cu", cell=[3, 3, 3], pbc=True, info={"REF_stress": np.zeros(9)})
    slab = Atoms("Cu", cell=[3, 3, 20], pbc=[True, True, False], info={"REF_stress": np.zeros(9)})
    assert has_stress([cell])
    assert not has_stress([cell, slab])
    assert not has_stress([Atoms("Cu", cell=[3, 3, 3], pbc=True)])
