"""A user's own labels: found under any name, in any unit, refused where they cannot be right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.io import read, write

from mlipilot.audit.manifest import check_manifest
from mlipilot.datasets.imported.checks import doubles, energies_follow_forces, outliers
from mlipilot.datasets.imported.importing import SHARES, Import, import_files, is_free_atom, split_groups
from mlipilot.datasets.imported.reading import Frame, Labels, read_frames
from mlipilot.errors import InputError

LABELS = Labels("energy", "forces")
NAMES = ("H2O", "NH3", "CH4", "CO2", "H2CO")


def structures(each: int = 6, names: tuple[str, ...] = NAMES) -> list[Atoms]:
    """Rattled molecules with EMT's energies (eV) and forces (eV/Å)."""
    rng = np.random.default_rng(5)
    made = []
    for name in names:
        for _ in range(each):
            atoms = molecule(name)
            atoms.positions += rng.normal(scale=0.04, size=atoms.positions.shape)
            atoms.calc = EMT()
            atoms.info["energy"], atoms.arrays["forces"] = atoms.get_potential_energy(), atoms.get_forces()
            atoms.calc = None
            made.append(atoms)
    return made


@pytest.fixture(scope="module")
def labelled() -> list[Atoms]:
    return structures()


@pytest.fixture
def file(labelled: list[Atoms], tmp_path: Path) -> Path:
    return written(tmp_path / "set.xyz", labelled)


def written(path: Path, frames: list[Atoms], change: Callable[[Atoms], None] | None = None) -> Path:
    copies = [frame.copy() for frame in frames]
    for copy in copies:
        if change is not None:
            change(copy)
    write(path, copies, format="extxyz")
    return path


def imported(file: Path, labels: Labels = LABELS, drop_outliers: bool = False) -> Import:
    return import_files([file], labels, "set", file.parent / "out", seed=1, drop_outliers=drop_outliers)


def test_labels_come_through_under_names_that_no_reader_moves(file: Path, labelled: list[Atoms]) -> None:
    found = imported(file)
    out = file.parent / "out"
    assert check_manifest(out) == []
    frames = [
        atoms
        for name in ("train/train", "train/valid", "test/test", "sealed/sealed")
        for atoms in read(out / f"{name}.xyz", index=":")
    ]
    assert len(frames) == len(labelled) == sum(found.frames.values())
    assert sorted(a.info["REF_energy"] for a in frames) == pytest.approx(
        sorted(a.info["energy"] for a in labelled), abs=1e-7
    )
    assert found.split_by == "chemical formula" and found.elements == ["C", "H", "N", "O"]
    assert not found.periodic and not found.stresses


def test_no_group_is_in_two_splits_and_the_seed_decides(file: Path) -> None:
    found = imported(file)
    names = [name for groups in found.groups.values() for name in groups]
    assert sorted(names) == sorted(set(names)) and len(names) == len(NAMES)
    (file.parent / "out").rename(file.parent / "first")
    assert imported(file) == found


@pytest.mark.parametrize(
    ("unit", "forces_unit", "ev", "ev_per_a"),
    [
        ("Hartree", "Hartree/Bohr", units.Hartree, units.Hartree / units.Bohr),
        ("kcal/mol", "kcal/mol/A", units.kcal / units.mol, units.kcal / units.mol),
        ("meV", "meV/A", 1e-3, 1e-3),
    ],
)
def test_units_are_turned_into_ev_and_a(
    labelled: list[Atoms], tmp_path: Path, unit: str, forces_unit: str, ev: float, ev_per_a: float
) -> None:
    def change(atoms: Atoms) -> None:
        atoms.info["energy"] /= ev
        atoms.arrays["forces"] /= ev_per_a

    path = written(tmp_path / "other.xyz", labelled, change)
    labels = Labels("energy", "forces", energy_unit=unit, forces_unit=forces_unit)
    for frame, original in zip(read_frames([path], labels), labelled, strict=True):
        assert frame.energy_ev == pytest.approx(original.info["energy"], abs=1e-5)
        np.testing.assert_allclose(frame.forces_ev_per_a, original.arrays["forces"], atol=1e-5)


def per_atom(atoms: Atoms) -> None:
    atoms.info["energy"] /= len(atoms)


def in_hartree(atoms: Atoms) -> None:
    atoms.info["energy"] /= units.Hartree


def gradients(atoms: Atoms) -> None:
    atoms.arrays["forces"] *= -1


@pytest.mark.parametrize(
    ("change", "mend"),
    [(per_atom, "--energy-unit eV/atom"), (in_hartree, "energies in Hartree"), (gradients, "gradients")],
)
def test_labels_that_do_not_belong_together_are_refused_with_the_likely_mistake(
    tmp_path: Path, change: Callable[[Atoms], None], mend: str
) -> None:
    path = written(tmp_path / "wrong.xyz", structures(40, ("H2O",)), change)
    with pytest.raises(InputError, match="do not follow the forces") as told:
        imported(path)
    assert mend in str(told.value)
    assert [entry.name for entry in tmp_path.iterdir()] == ["wrong.xyz"]


def test_energies_per_atom_are_taken_when_they_are_said_to_be(labelled: list[Atoms], tmp_path: Path) -> None:
    path = written(tmp_path / "per_atom.xyz", labelled, per_atom)
    frames = list(read_frames([path], Labels("energy", "forces", energy_unit="eV/atom")))
    assert frames[0].energy_ev == pytest.approx(labelled[0].info["energy"], abs=1e-6)


def test_a_quadratic_surface_is_followed_to_a_part_in_a_million() -> None:
    """The rule of the trapezium is exact there."""
    rng = np.random.default_rng(2)
    frames = []
    for index in range(40):
        atoms = Atoms("Ar3", positions=np.diag([0.0, 4.0, 8.0]) + rng.normal(scale=0.05, size=(3, 3)))
        moved = atoms.positions - np.diag([0.0, 4.0, 8.0])
        atoms.info["REF_energy"] = float(3.0 * np.sum(moved**2))
        atoms.arrays["REF_forces"] = -6.0 * moved
        frames.append(Frame(atoms, f"frame {index}", "g"))
    found = energies_follow_forces(frames)
    assert found.pairs > 10 and found.slope == pytest.approx(1.0, abs=1e-6)


def test_too_few_like_frames_conclude_nothing(labelled: list[Atoms], tmp_path: Path) -> None:
    path = written(tmp_path / "one_each.xyz", labelled[::6], per_atom)
    assert imported(path).consistency.slope is None


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (Labels("energi", "forces"), "did you mean --energy-key energy"),
        (Labels("energy", "f"), "there is no 'f'"),
        (Labels("energy", "forces", stress="virial"), "there is no 'virial'"),
        (Labels("energy", "energy"), "the shape"),
        (Labels("energy", "forces", group="molecule"), "--group-key"),
        (Labels("energy", "forces", energy_unit="ev"), "unknown unit"),
        (Labels("energy", "forces", forces_unit="eV"), "unknown unit"),
    ],
)
def test_a_label_that_is_not_there_is_named_with_its_place(file: Path, labels: Labels, told: str) -> None:
    with pytest.raises(InputError) as error:
        imported(file, labels)
    assert told in str(error.value)
    assert "unit" in told or f"{file}: frame 0" in str(error.value)


def not_a_number(atoms: Atoms) -> None:
    atoms.arrays["forces"][0, 0] = np.nan


def test_numbers_that_are_none_are_refused(labelled: list[Atoms], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finite number"):
        imported(written(tmp_path / "nan.xyz", labelled, not_a_number))


def test_files_that_hold_no_structures(tmp_path: Path) -> None:
    torn = tmp_path / "torn.xyz"
    torn.write_text("3\n\nH 0 0 0\nH 0 0")
    for path, told in ((tmp_path / "none.xyz", "no such file"), (torn, "frame 0 cannot be read")):
        with pytest.raises(InputError, match=told):
            imported(path)


def test_isolated_atoms_are_in_no_split(labelled: list[Atoms], tmp_path: Path) -> None:
    atom = Atoms("O", info={"energy": -2.5})
    atom.arrays["forces"] = np.zeros((1, 3))
    found = imported(written(tmp_path / "set.xyz", [*labelled, atom]))
    assert found.isolated_atom_ev == {"O": -2.5}
    assert sum(found.frames.values()) == len(labelled)


def test_a_crystals_primitive_cell_is_no_free_atom() -> None:
    assert is_free_atom(Atoms("Cu")) and is_free_atom(Atoms("Cu", cell=[9, 9, 9], pbc=True))
    assert not is_free_atom(bulk("Cu")) and not is_free_atom(molecule("H2"))


def test_free_atoms_that_disagree_are_refused(labelled: list[Atoms], tmp_path: Path) -> None:
    atoms = [Atoms("O", info={"energy": energy}) for energy in (-2.5, -2.6)]
    for atom in atoms:
        atom.arrays["forces"] = np.zeros((1, 3))
    with pytest.raises(InputError, match=r"frame 31 is a free atom like .*frame 30 .* 100 meV/atom apart"):
        imported(written(tmp_path / "set.xyz", [*labelled, *atoms]))


def test_a_frame_that_stands_twice_is_left_out_and_a_contradiction_is_refused(
    labelled: list[Atoms], tmp_path: Path
) -> None:
    found = imported(written(tmp_path / "set.xyz", [*labelled, labelled[3]]))
    assert found.doubles == [f"{tmp_path / 'set.xyz'}, frame 30: as {tmp_path / 'set.xyz'}, frame 3"]
    assert sum(found.frames.values()) == len(labelled)
    other = labelled[3].copy()
    other.info["energy"] += 1.0
    with pytest.raises(InputError, match=r"frame 30 has the geometry of .*frame 3"):
        import_files(
            [written(tmp_path / "two.xyz", [*labelled, other])], LABELS, "two", tmp_path / "two", 1, False
        )


def frames_of(atoms: list[Atoms]) -> list[Frame]:
    for one in atoms:
        one.info["REF_energy"], one.arrays["REF_forces"] = one.info["energy"], one.arrays["forces"]
    return [Frame(one, str(index), "g") for index, one in enumerate(atoms)]


def test_outliers_are_reported_with_their_reason(tmp_path: Path) -> None:
    made = structures()
    assert outliers(frames_of(made)) == {}
    made[4].info["energy"] += 40
    made[9].arrays["forces"][0] = 5000
    made[20].positions[1] = made[20].positions[0] + 0.1
    found = outliers(frames_of(made))
    assert {index: why.split()[0] for index, why in found.items()} == {4: "its", 9: "a", 20: "two"}
    path = written(tmp_path / "set.xyz", made)
    kept, left = imported(path), None
    (tmp_path / "out").rename(tmp_path / "kept")
    left = imported(path, drop_outliers=True)
    assert sum(kept.frames.values()) == 30 and sum(left.frames.values()) == 27
    assert kept.outliers == left.outliers


def test_one_composition_is_split_by_stretches(tmp_path: Path) -> None:
    found = imported(written(tmp_path / "set.xyz", structures(40, ("H2O",))))
    assert found.split_by == "stretches of 2 successive frames"
    assert sum(found.frames.values()) == 40 and all(found.frames.values())


def test_every_split_gets_a_group_and_about_its_share() -> None:
    assert all(split_groups(Counter(dict.fromkeys("abcd", 1)), 3).values())
    sizes = Counter({f"g{i}": 10 for i in range(100)})
    splits = split_groups(sizes, 3)
    assert {split: len(names) for split, names in splits.items()} == {
        split: pytest.approx(100 * part, abs=1) for split, part in SHARES.items()
    }
    with pytest.raises(InputError, match=r"2 group\(s\)"):
        split_groups(Counter("ab"), 3)


def test_doubles_are_found_by_geometry_alone(labelled: list[Atoms]) -> None:
    made = [one.copy() for one in labelled[:3]]
    again = made[1].copy()
    again.info["energy"] = 0.0
    assert doubles(frames_of([*made, again])) == [(1, 3)]


def test_an_existing_directory_is_left_alone(file: Path) -> None:
    imported(file)
    with pytest.raises(InputError, match="exists"):
        imported(file)
