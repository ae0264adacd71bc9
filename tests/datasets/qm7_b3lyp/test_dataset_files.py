"""The splits: no geometry twice, unseen molecules nowhere else, failures counted and never used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase.io import read

from mlipilot.audit.manifest import check_manifest
from mlipilot.datasets.qm7_b3lyp.dataset_files import (
    Division,
    check_divisible,
    check_splits,
    divide,
    write_dataset,
)
from mlipilot.errors import CheckFailedError, InputError
from mlipilot_labels.records import Frame, from_lines, to_lines
from tests.datasets.qm7_b3lyp.conftest import frame


def test_every_frame_is_in_one_split_and_unseen_molecules_are_unseen(frames: list[Frame]) -> None:
    splits = divide(frames, Division(1, 0.5))
    placed = [(f.molecule, f.index) for of_split in splits.values() for f in of_split]
    assert sorted(placed) == sorted((f.molecule, f.index) for f in frames)
    names = {split: {f.molecule for f in of_split} for split, of_split in splits.items()}
    assert len(names["test_unseen"]) == len(names["sealed_unseen"]) == 2
    assert len(names["train"]) == 4
    assert names["train"] == names["valid"] == names["test"] == names["sealed"]
    assert not names["train"] & (names["test_unseen"] | names["sealed_unseen"])


def test_the_minimum_of_a_trained_molecule_is_trained_on(frames: list[Frame]) -> None:
    splits = divide(frames, Division(3, 0.25))
    home = {f.molecule: split for split, of in splits.items() for f in of if f.kind == "equilibrium"}
    assert {split for name, split in home.items() if name in {f.molecule for f in splits["train"]}} == {
        "train"
    }


def test_each_split_has_gentle_and_strained_geometries_and_the_most_strained_are_taught() -> None:
    order = np.random.default_rng(3).permutation(20)
    made = [frame("a", 0, "equilibrium")]
    made += [frame("a", int(i)).model_copy(update={"energy_ev": 0.1 * i**2 - 100.0}) for i in order if i]
    drawn: dict[str, set[int]] = {split: set() for split in ("train", "valid", "test", "sealed")}
    for salt in range(60):
        splits = divide(made, Division(1, 0.0, salt))
        of = {split: sorted(f.index for f in splits[split] if f.molecule == "a") for split in drawn}
        assert {0, 18, 19} <= {*of["train"]}
        assert [len(of[split]) for split in ("valid", "test", "sealed")] == [2, 3, 2]
        assert of["test"][0] <= 6 < of["test"][1] <= 12 < of["test"][2], "one of each third of what may be"
        for split, places in of.items():
            drawn[split] |= {*places}
    assert drawn["test"] == {*range(1, 18)} and drawn["sealed"] == {*range(1, 18)}


def test_splits_follow_the_seed(frames: list[Frame]) -> None:
    splits = divide(frames, Division(1, 0.25))
    assert splits == divide(list(reversed(frames)), Division(1, 0.25)) != divide(frames, Division(2, 0.25))


def test_a_salt_draws_geometries_anew_and_leaves_the_unseen_molecules(frames: list[Frame]) -> None:
    public, first, second = (divide(frames, Division(1, 0.5, salt)) for salt in (None, 1, 2))
    assert first == divide(list(reversed(frames)), Division(1, 0.5, 1))
    for split in ("test_unseen", "sealed_unseen", "isolated_atoms"):
        assert public[split] == first[split] == second[split]
    for split in ("train", "test"):
        assert public[split] != first[split] != second[split]
        assert len(public[split]) == len(first[split]) == len(second[split])


@pytest.mark.parametrize(
    "leak", [{"train": [("a", 1)], "test": [("a", 1)]}, {"train": [("a", 1)], "test_unseen": [("a", 2)]}]
)
def test_a_leak_is_refused(leak: dict[str, list[tuple[str, int]]]) -> None:
    with pytest.raises(CheckFailedError, match="a"):
        check_splits({split: [frame(*place) for place in of] for split, of in leak.items()})


def test_a_frame_that_did_not_converge_is_counted_and_never_used(tmp_path: Path, frames: list[Frame]) -> None:
    failed = frame("m0", 99, labelled=False)
    write_dataset(
        tmp_path, [*frames, failed], Division(1, 0.25), {"options": {}}, {"test/extra.json": "{}\n"}
    )
    assert check_manifest(tmp_path) == []
    provenance = json.loads((tmp_path / "provenance.json").read_text())
    assert provenance["outcomes"] == {"default": len(frames), "not_converged": 1}
    assert provenance["without_label"] == ["m0 99: not_converged"]
    assert provenance["isolated_atoms_ev"] == {"H": -30.0}
    written = [
        (atoms.info["molecule"], atoms.info["index"])
        for split in provenance["splits"].values()
        for atoms in read(tmp_path / split["file"], ":")
    ]
    assert len(written) == len(frames)
    assert ("m0", 99) not in written
    assert failed in from_lines((tmp_path / "records.jsonl").read_text())


def test_a_frame_without_geometry_is_read_back() -> None:
    refused = frame("m", 0, labelled=False).model_copy(update={"positions_a": None})
    assert from_lines(to_lines([refused])) == [refused]


def test_labels_have_the_names_that_mace_reads(tmp_path: Path, frames: list[Frame]) -> None:
    write_dataset(tmp_path, frames, Division(1, 0.25), {}, {})
    first = read(tmp_path / "train/train.xyz", 0)
    assert first.info["REF_energy"] == -30.0
    assert first.info["config_type"] == "equilibrium"
    assert first.arrays["REF_forces"].tolist() == [[0, 0, 0.1], [0, 0, -0.1]]
    assert not first.pbc.any()
    assert read(tmp_path / "train/isolated_atoms.xyz", 0).info["config_type"] == "IsolatedAtom"


def test_a_set_without_any_label_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckFailedError, match="not one"):
        write_dataset(tmp_path, [frame("a", 0, labelled=False)], Division(1, 0.25), {}, {})


@pytest.mark.parametrize(
    ("kept", "share", "empty"),
    [
        (lambda frame: frame.kind == "equilibrium", 0.25, "valid, test"),
        (lambda frame: frame.index < 3, 0.25, "valid"),
        (lambda frame: True, 0.99, "train, valid, test"),
    ],
)
def test_a_set_without_a_split_that_campaigns_need_is_refused(
    tmp_path: Path, frames: list[Frame], kept: Callable[[Frame], bool], share: float, empty: str
) -> None:
    with pytest.raises(InputError, match=rf"^{empty} would be empty(.|\n)*mend: more geometries"):
        write_dataset(tmp_path, [frame for frame in frames if kept(frame)], Division(1, share), {}, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("geometries", range(1, 40))
def test_what_is_said_before_labelling_is_what_merging_finds(geometries: int) -> None:
    made = [frame("a", index, "normal_mode" if index else "equilibrium") for index in range(geometries)]
    splits = divide(made, Division(1, 0.25))
    if all(splits[split] for split in ("train", "valid", "test")):
        check_divisible(1, geometries, 0.25)
        assert geometries >= 5
    else:
        with pytest.raises(InputError, match="would be empty"):
            check_divisible(1, geometries, 0.25)
        assert geometries < 5


@pytest.mark.parametrize(
    "origin",
    [
        "QM7, file of SHA-256 ab",
        "stand-in: conformer of C1=C(N)[nH]C#N by RDKit",
        'a "b" {c} [d]',
        "1",
    ],
)
def test_each_frame_of_the_file_says_where_it_comes_from(
    tmp_path: Path, frames: list[Frame], origin: str
) -> None:
    made = [frame.model_copy(update={"origin": origin}) for frame in frames]
    write_dataset(tmp_path, made, Division(1, 0.25), {}, {})
    for atoms in read(tmp_path / "train/train.xyz", ":"):
        assert str(atoms.info["origin"]) == origin
