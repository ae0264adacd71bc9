"""A user's own labels: found under any name, in any unit, refused where they cannot be right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.io import read

from mlipilot.audit.manifest import check_manifest, write_manifest
from mlipilot.datasets import base
from mlipilot.datasets.imported.frame_files import Frame, Labels, read_frames
from mlipilot.datasets.imported.importing import FILES, import_files, is_free_atom
from mlipilot.datasets.imported.label_checks import doubles, energies_follow_forces, outliers
from mlipilot.errors import InputError

from .made import LABELS, NAMES, frames_of, imported, per_atom, structures, written


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


@pytest.mark.parametrize("seed", range(12))
def test_train_knows_every_element_of_the_other_files(file: Path, seed: int) -> None:
    out = file.parent / "out"
    import_files([file], LABELS, "set", out, seed, drop_outliers=False)
    elements = {
        split: {symbol for atoms in read(out / path, index=":") for symbol in atoms.symbols}
        for split, path in FILES.items()
    }
    assert all(found <= elements["train"] for found in elements.values()), elements


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
        (Labels("energi", "forces"), "did you mean '--energy-key energy'?"),
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


def test_doubles_are_found_by_geometry_alone(labelled: list[Atoms]) -> None:
    made = [one.copy() for one in labelled[:3]]
    again = made[1].copy()
    again.info["energy"] = 0.0
    assert doubles(frames_of([*made, again])) == [(1, 3)]


def test_an_existing_directory_is_left_alone(file: Path) -> None:
    imported(file)
    with pytest.raises(InputError, match="exists"):
        imported(file)


def test_of_two_imports_at_once_the_one_that_ends_first_stands(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtaken(directory: Path) -> None:
        monkeypatch.setattr(base, "write_manifest", write_manifest)
        imported(file)
        write_manifest(directory)

    monkeypatch.setattr(base, "write_manifest", overtaken)
    with pytest.raises(InputError, match="exists"):
        imported(file)
    assert check_manifest(file.parent / "out") == []
    assert sorted(entry.name for entry in file.parent.iterdir()) == ["out", "set.xyz"]
