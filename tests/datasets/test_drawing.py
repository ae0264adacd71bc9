"""Part of the training structures: how much goes, what stays, and that anybody gets the same bytes."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import read, write

from mlipilot.datasets.drawing import drawn_structures, structures

GROUPS = {f"family {number}": 6 for number in range(10)}


def _frames() -> list[Atoms]:
    random = np.random.default_rng(5)
    frames: list[Atoms] = []
    for index, (name, size) in enumerate(GROUPS.items()):
        for _ in range(size):
            atoms = Atoms("CH4" if index % 2 else "C2H6")
            atoms.positions = random.normal(size=(len(atoms), 3))
            atoms.arrays["REF_forces"] = np.round(random.normal(size=(len(atoms), 3)), 6)
            atoms.info |= {"REF_energy": float(len(frames)), "group": name}
            frames.append(atoms)
    return frames


def _written(directory: Path, frames: list[Atoms]) -> Path:
    directory.mkdir()
    write(directory / "train.xyz", frames, format="extxyz")
    write(directory / "valid.xyz", _frames()[:5], format="extxyz")
    return directory


@pytest.fixture
def train(tmp_path: Path) -> Path:
    return _written(tmp_path / "train", _frames())


def _drawn(train: Path, seed: int, share: float = 0.1) -> list[Atoms]:
    text = drawn_structures(train, seed, share)["train.xyz"].decode()
    return list(read(io.StringIO(text), index=":", format="extxyz"))


def test_a_share_goes_and_what_stays_is_as_it_was_in_another_order(train: Path) -> None:
    before = {atoms.info["REF_energy"]: atoms for atoms in _frames()}
    for seed in range(20):
        after = _drawn(train, seed)
        assert len(after) == 54
        order = [atoms.info["REF_energy"] for atoms in after]
        assert len(set(order)) == 54 and order != sorted(order)
        for atoms in after:
            same = before[atoms.info["REF_energy"]]
            assert np.allclose(atoms.positions, same.positions, atol=1e-8)
            assert np.allclose(atoms.arrays["REF_forces"], same.arrays["REF_forces"])
    files = drawn_structures(train, 1, 0.1)
    assert sorted(files) == ["train.xyz", "valid.xyz"]
    assert files["valid.xyz"] == (train / "valid.xyz").read_bytes()


def test_any_may_go_and_no_family_goes_as_a_whole(train: Path) -> None:
    gone, families = Counter[float](), Counter[str]()
    everything = {atoms.info["REF_energy"] for atoms in _frames()}
    for seed in range(200):
        after = _drawn(train, seed)
        gone.update(everything - {atoms.info["REF_energy"] for atoms in after})
        families[str(len({str(atoms.info["group"]) for atoms in after}))] += 1
    assert families == {"10": 200}
    mean, sd = 200 * 6 / 60, (200 * 0.1 * 0.9) ** 0.5
    assert len(gone) == 60 and all(abs(count - mean) < 5 * sd for count in gone.values())


@pytest.mark.parametrize(("share", "left"), [(0.0, 60), (0.1, 54), (0.5, 30), (0.016, 60), (0.017, 59)])
def test_at_most_that_share_goes(train: Path, share: float, left: int) -> None:
    assert len(_drawn(train, 3, share)) == left


def test_isolated_atoms_stay_and_so_does_the_last_structure_of_an_element(tmp_path: Path) -> None:
    alone = Atoms("O", info={"REF_energy": -1.0, "config_type": "IsolatedAtom"})
    alone.arrays["REF_forces"] = np.zeros((1, 3))
    rare = [Atoms("CO", [[0, 0, 0], [0, 0, 1.1]], info={"REF_energy": float(100 + i)}) for i in range(2)]
    for atoms in rare:
        atoms.arrays["REF_forces"] = np.zeros((2, 3))
    train = _written(tmp_path / "of", [alone, *rare, *_frames()[:6]])
    for seed in range(30):
        drawn = _drawn(train, seed, 0.5)
        assert len(drawn) == 5
        assert sum(len(atoms) == 1 for atoms in drawn) == 1
        assert any("O" in atoms.symbols for atoms in drawn if len(atoms) > 1)


def test_the_last_carrier_is_a_structure_though_an_isolated_atom_is_there(tmp_path: Path) -> None:
    alone = Atoms("O", info={"REF_energy": -1.0, "config_type": "IsolatedAtom"})
    alone.arrays["REF_forces"] = np.zeros((1, 3))
    rare = Atoms("CO", [[0, 0, 0], [0, 0, 1.1]], info={"REF_energy": 100.0})
    rare.arrays["REF_forces"] = np.zeros((2, 3))
    train = _written(tmp_path / "of", [alone, rare, *_frames()[:6]])
    assert all(any(len(a) == 2 for a in _drawn(train, seed, 0.5)) for seed in range(20))


def test_each_structure_keeps_its_bytes_whatever_its_columns_and_a_periodic_atom_is_none_alone(
    tmp_path: Path,
) -> None:
    frames = _frames()[:9]
    alone, bulk = (
        Atoms("Cu", cell=[3, 3, 3], pbc=pbc, info={"REF_energy": 0.1 + 0.2, "name": 'a "b" \t c'})
        for pbc in (False, True)
    )
    text = io.StringIO()
    write(text, [alone, bulk, bulk, *frames], format="extxyz", columns=["numbers", "positions", "symbols"])
    (tmp_path / "train.xyz").write_text(text.getvalue())
    before = list(structures(text.getvalue().encode()))
    assert [each.is_isolated_atom for each in before] == [True] + [False] * 11
    assert before[1].elements == {b"Cu"} and before[3].elements == {b"C", b"H"}
    assert b"".join(each.text for each in before) == text.getvalue().encode()
    after = list(structures(drawn_structures(tmp_path, 3, 0.2)["train.xyz"]))
    assert len(after) == 10 and not Counter(after) - Counter(before)


NO_FRAMES = {
    "cut short": "2\nProperties=species:S:1:pos:R:3\nH 0 0 0\n",
    "no number": "x\n",
    "of no atoms": "0\nProperties=species:S:1\n",
    "of less": "-1\nProperties=species:S:1:pos:R:3\nH 0 0 0\n",
    "without properties": "1\n\nH 0 0 0\n",
    "without elements": "1\nProperties=pos:R:3\n0 0 0\n",
}


@pytest.mark.parametrize("text", NO_FRAMES.values(), ids=NO_FRAMES)
def test_what_is_no_frame_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"line 1|int\(\)|species"):
        list(structures(text.encode()))


def test_anybody_gets_the_same_bytes_each_seed_others_and_the_source_stays(train: Path) -> None:
    before = (train / "train.xyz").read_bytes()
    first = drawn_structures(train, 7, 0.1)
    assert drawn_structures(train, 7, 0.1) == first
    assert drawn_structures(train, 8, 0.1)["train.xyz"] != first["train.xyz"]
    assert (train / "train.xyz").read_bytes() == before
    (train / "train.xyz").write_bytes(before.replace(b"REF_energy=0.0", b"REF_energy=0.5"))
    texts = [drawn_structures(train, seed, 0.1)["train.xyz"] for seed in range(7, 12)]
    assert any(b"REF_energy=0.5" in text for text in texts), "what was read before is not taken for it"
    (train / "train.xyz").unlink()
    assert sorted(drawn_structures(train, 7, 0.1)) == ["valid.xyz"]
