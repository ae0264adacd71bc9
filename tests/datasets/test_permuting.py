"""Labels that belong to other structures: what changes, what stays, and that anybody gets the same bytes."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read, write

from mlipilot.datasets.permuting import explained_by, permuted_labels


def _frames() -> list[Atoms]:
    random = np.random.default_rng(5)
    frames = []
    for number in range(12):
        atoms = Atoms("CH4" if number % 3 else "C2H6", pbc=number % 2 == 0, cell=[9, 9, 9])
        atoms.positions = random.normal(size=(len(atoms), 3))
        atoms.arrays["REF_forces"] = np.round(random.normal(size=(len(atoms), 3)), 6)
        carbons = int((atoms.numbers == 6).sum())
        base = -1000.0 * carbons - 13.5 * (len(atoms) - carbons)
        atoms.info["REF_energy"] = round(base + len(atoms) * float(random.normal()), 6)
        if number % 2 == 0:
            atoms.info["REF_stress"] = np.round(random.normal(size=(3, 3)), 6)
        frames.append(atoms)
    alone = Atoms("H", info={"REF_energy": -13.5, "config_type": "IsolatedAtom"})
    alone.arrays["REF_forces"] = np.zeros((1, 3))
    return [*frames, alone]


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("data") / "train"
    directory.mkdir()
    write(directory / "train.xyz", _frames(), format="extxyz")
    write(directory / "valid.xyz", _frames()[:5], format="extxyz")
    (directory / "notes.txt").write_text("no structures")
    return directory


def _read(data: bytes) -> list[Atoms]:
    found = read(io.StringIO(data.decode()), index=":", format="extxyz")
    return list(found)


def test_structures_stay_and_labels_change_places(train: Path) -> None:
    files = permuted_labels(train, 7)
    assert sorted(files) == ["train.xyz", "valid.xyz"]
    before, after = _read((train / "train.xyz").read_bytes()), _read(files["train.xyz"])
    for old, new in zip(before, after, strict=True):
        assert (old.numbers == new.numbers).all() and np.allclose(old.positions, new.positions)
        assert (old.pbc == new.pbc).all() and old.info.keys() == new.info.keys()
    moved = sum(
        not np.allclose(o.arrays["REF_forces"], n.arrays["REF_forces"])
        for o, n in zip(before, after, strict=True)
    )
    assert moved >= 11, "of twelve molecules' forces hardly any stay where they were"


def test_forces_stay_with_their_element_and_none_is_lost(train: Path) -> None:
    before, after = _read((train / "train.xyz").read_bytes()), _read(permuted_labels(train, 7)["train.xyz"])

    def by_element(frames: list[Atoms]) -> Counter[tuple[int, ...]]:
        return Counter(
            (int(z), *np.round(np.array(force) * 1e6).astype(int))
            for atoms in frames
            for z, force in zip(atoms.numbers, atoms.arrays["REF_forces"], strict=True)
        )

    assert by_element(before) == by_element(after)


def test_energies_keep_the_elements_part_and_stresses_their_kind(train: Path) -> None:
    before, after = _read((train / "train.xyz").read_bytes()), _read(permuted_labels(train, 7)["train.xyz"])
    changes = [
        (n.info["REF_energy"] - o.info["REF_energy"]) / len(o) for o, n in zip(before, after, strict=True)
    ]
    assert max(map(abs, changes)) < 8.0, "a carbon's thousand eV never go to hydrogen"
    assert sum(abs(change) > 1e-3 for change in changes) >= 9
    assert abs(sum(changes)) < 1e-4, "the rest beyond the elements changes places, and none is lost"
    assert after[-1].info["REF_energy"] == -13.5, "an isolated atom is what energies are counted from"
    stresses = [
        Counter(tuple(np.ravel(atoms.info["REF_stress"])) for atoms in f if "REF_stress" in atoms.info)
        for f in (before, after)
    ]
    assert stresses[0] == stresses[1] and len(stresses[0]) == 6


def test_a_seed_gives_the_same_bytes_and_another_gives_others(train: Path) -> None:
    assert permuted_labels(train, 7) == permuted_labels(train, 7)
    assert permuted_labels(train, 7)["train.xyz"] != permuted_labels(train, 8)["train.xyz"]
    first = (train / "train.xyz").read_bytes()
    assert permuted_labels(train, 7)["train.xyz"] != first and (train / "train.xyz").read_bytes() == first


def test_labels_that_are_not_there_are_not_made_up(tmp_path: Path) -> None:
    write(tmp_path / "train.xyz", [Atoms("H2", positions=[[0, 0, 0], [0, 0, 1]])] * 3, format="extxyz")
    (atoms, *_) = _read(permuted_labels(tmp_path, 1)["train.xyz"])
    assert not {"REF_energy", "REF_stress"} & atoms.info.keys() and "REF_forces" not in atoms.arrays
    (tmp_path / "train.xyz").unlink()
    assert permuted_labels(tmp_path, 1) == {}


def test_what_permuted_forces_explain_of_the_true_ones_is_told(train: Path, tmp_path: Path) -> None:
    true = train / "train.xyz"
    assert explained_by(true.read_bytes(), true) == 1.0, "nothing changed its place"
    assert explained_by(permuted_labels(train, 7)["train.xyz"], true) < -0.5, "two of one law: near −1"
    alone = Atoms("HCl", positions=[[0, 0, 0], [0, 0, 1.3]])
    alone.arrays["REF_forces"] = np.array([[0.0, 0, 1], [0, 0, -1]])
    write(tmp_path / "train.xyz", [alone], format="extxyz")
    assert explained_by(permuted_labels(tmp_path, 7)["train.xyz"], tmp_path / "train.xyz") == 1.0
    write(tmp_path / "train.xyz", [Atoms("H")], format="extxyz")
    assert explained_by((tmp_path / "train.xyz").read_bytes(), tmp_path / "train.xyz") == 0.0
