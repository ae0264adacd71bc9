"""Splits hold whole groups, come near their shares whatever the seed, and train has every element."""

from __future__ import annotations

from collections import Counter

import pytest
from ase import Atoms
from ase.build import molecule

from mlipilot.datasets.imported.frame_files import Frame
from mlipilot.datasets.imported.splitting import SHARES, Split, split_frames, split_groups
from mlipilot.errors import InputError

SEEDS = range(40)


def frames_of(formulas: dict[str, int]) -> list[Frame]:
    """So many frames of each formula, in the group of its name."""
    names = [name for name, count in formulas.items() for _ in range(count)]
    return [Frame(Atoms(name), f"frame {index}", name) for index, name in enumerate(names)]


def elements_of(split: Split, names: tuple[str, ...]) -> set[str]:
    groups = set().union(*(split.groups[name] for name in names))
    return {symbol for frame in split.frames if frame.group in groups for symbol in frame.atoms.symbols}


def test_every_split_gets_a_group_and_about_its_share() -> None:
    assert all(split_groups(Counter(dict.fromkeys("abcd", 1)), 3).values())
    sizes = Counter({f"g{i}": 10 for i in range(100)})
    splits = split_groups(sizes, 3)
    assert {split: len(names) for split, names in splits.items()} == {
        split: pytest.approx(100 * part, abs=1) for split, part in SHARES.items()
    }
    with pytest.raises(InputError, match=r"2 group\(s\)"):
        split_groups(Counter("ab"), 3)


@pytest.mark.parametrize(
    ("sizes", "frames"),
    [
        ({"Cu32": 1000, "Cu31": 1, "Cu30": 1, "Cu33": 1}, [1000, 1, 1, 1]),
        ({"a": 400, "b": 300, "c": 200, "d": 50, "e": 50}, [700, 200, 50, 50]),
        ({f"g{i}": i for i in range(1, 41)}, [574, 82, 82, 82]),
        ({"a": 500, **{f"g{i}": 10 for i in range(50)}}, [700, 100, 100, 100]),
    ],
)
def test_shares_are_approached_whatever_the_seed(sizes: dict[str, int], frames: list[int]) -> None:
    for seed in SEEDS:
        splits = split_groups(Counter(sizes), seed)
        found = [sum(sizes[name] for name in names) for names in splits.values()]
        assert found == pytest.approx(frames, abs=0.01 * sum(frames))
        assert splits == split_groups(Counter(sizes), seed)


def test_among_equal_groups_the_seed_decides() -> None:
    sizes = Counter({f"g{i}": 10 for i in range(20)})
    assert len({frozenset(split_groups(sizes, seed)["train"]) for seed in SEEDS}) > 20


@pytest.mark.parametrize(
    "formulas",
    [
        dict.fromkeys(("H2O", "NH3", "CH4", "CO2", "H2CO"), 6),
        {"CuZn": 1, "Cu4": 400, "Cu5": 30, "Cu6": 30, "Cu7": 30, "Cu8": 60},
        {"Na": 8, "K": 8, "Rb": 8, "Cs": 8},
        {"H2O": 30, "NH3": 1},
    ],
)
def test_train_has_the_elements_of_every_other_split(formulas: dict[str, int]) -> None:
    frames = frames_of(formulas)
    for seed in SEEDS:
        split = split_frames(frames, None, seed)
        assert elements_of(split, ("valid", "test", "sealed")) <= elements_of(split, ("train",))
        assert sum(split.counts.values()) == len(frames) and all(split.counts.values())


def test_elements_that_train_cannot_all_have_are_refused_by_name() -> None:
    frames = frames_of({"Cu3": 5, "CuZn": 5, "CuAg": 5, "CuAu": 5, "Pt": 5})
    with pytest.raises(InputError, match=r"CuAg for its Ag.* CuZn for its Zn; of 5 groups 1 are left"):
        split_frames(frames, "composition", 1)


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        (dict.fromkeys(("H", "H2", "H3", "H4"), 10), "train has 10 of 40 frames"),
        ({"HO": 1, "H": 9, "O": 9, "H2": 9}, "train has 1 of 28 frames"),
    ],
)
def test_a_train_below_half_its_share_is_refused(sizes: dict[str, int], told: str) -> None:
    with pytest.raises(InputError, match=told):
        split_frames(frames_of(sizes), "molecule", 1)


def test_a_formula_that_outweighs_the_others_is_cut_into_stretches() -> None:
    frames = frames_of({"Cu32": 1000, "Cu31": 1, "Cu30": 1, "Cu33": 1})
    for seed in range(3):
        split = split_frames(frames, None, seed)
        assert split.by == "stretches of 51 successive frames"
        assert split.counts == {name: pytest.approx(share * 1003, rel=0.1) for name, share in SHARES.items()}
        assert {"Cu30", "Cu31", "Cu33"} <= set().union(*split.groups.values())  # whole
    kept = split_frames(frames, "composition", 2026)
    assert kept.counts["train"] == 1000
    assert "by composition, sealed has 1 of 1003 frames, and its share is 10%" in kept.warnings


@pytest.mark.parametrize(
    ("frames", "told"), [(20, "stretches of one frame are a split by frame"), (21, "borders of stretches")]
)
def test_stretches_are_warned_of(frames: int, told: str) -> None:
    atoms = molecule("H2O")
    split = split_frames([Frame(atoms, str(index), "H2O") for index in range(frames)], None, 1)
    assert [told in warning for warning in split.warnings] == [True]
    assert all("--group-key" in warning for warning in split.warnings)


def test_a_good_split_has_no_warning() -> None:
    assert split_frames(frames_of({f"C{i}H": 10 for i in range(1, 11)}), None, 1).warnings == []
