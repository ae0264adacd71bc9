"""The copper data set: the same bytes every time, honest labels, and no group in two splits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.io import read

from mlipilot.audit.files import sha256_file, tree_digest
from mlipilot.audit.manifest import check_manifest
from mlipilot.datasets import DATASETS, cu_emt
from mlipilot.datasets.base import Group, check_groups, share
from mlipilot.datasets.emt import check_labels, force_deviation_ev_per_a
from mlipilot.datasets.options import CuEmtOptions
from mlipilot.errors import CheckFailedError, InputError

SMALL = CuEmtOptions(train=12, valid=4, test=4, test_large=2, sealed=4, md_interval_steps=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built") / "data"
    DATASETS["cu_emt"].build(SMALL, out, None)
    return out


def frames(data: Path, split: str) -> list[Atoms]:
    provenance = json.loads((data / "provenance.json").read_text())
    return list(read(data / provenance["splits"][split]["file"], index=":"))


def test_the_same_options_give_the_same_bytes(data: Path, tmp_path: Path) -> None:
    cu_emt.build(SMALL, tmp_path / "again", None)
    assert tree_digest(tmp_path / "again") == tree_digest(data)


@pytest.mark.usefixtures("unchecked")
def test_another_seed_gives_other_bytes(data: Path, tmp_path: Path) -> None:
    cu_emt.build(SMALL.model_copy(update={"seed": 1}), tmp_path / "other", None)
    assert sha256_file(tmp_path / "other/train/train.xyz") != sha256_file(data / "train/train.xyz")


@pytest.mark.usefixtures("unchecked")
def test_a_salt_draws_what_judges_anew_and_leaves_what_is_trained_on(data: Path, tmp_path: Path) -> None:
    cu_emt.build(SMALL.model_copy(update={"salt": 1}), tmp_path / "other", None)
    split = json.loads((data / "provenance.json").read_text())["splits"]
    same = {
        name
        for name, of_split in split.items()
        if sha256_file(tmp_path / "other" / of_split["file"]) == of_split["sha256"]
    }
    assert same == {"train", "valid"}


@pytest.mark.slow
def test_bytes_do_not_depend_on_the_number_of_processes() -> None:
    options = CuEmtOptions(md_interval_steps=1)
    groups = [group for group in cu_emt.plan_groups(options) if group.split in ("valid", "sealed")]
    assert sum(group.frames for group in groups) > 60  # else they are not shared out
    parallel = list(cu_emt._label_all(groups, options))
    for group, made in zip(groups, parallel, strict=True):
        alone = cu_emt._label_group(group, options)
        assert [a.positions.tobytes() for a in made] == [a.positions.tobytes() for a in alone]
        assert [a.info["REF_energy"] for a in made] == [a.info["REF_energy"] for a in alone]


def test_the_directory_is_sealed_and_says_where_it_comes_from(data: Path) -> None:
    assert check_manifest(data) == []
    provenance = json.loads((data / "provenance.json").read_text())
    assert provenance["labels"]["asap_cutoff"] is False
    assert provenance["options"] == SMALL.model_dump()
    assert provenance["versions"].keys() == {"ase", "numpy"}
    for split, entry in provenance["splits"].items():
        assert entry["sha256"] == sha256_file(data / entry["file"])
        assert entry["frames"] == getattr(SMALL, split) == sum(entry["kinds"].values())


def test_no_group_and_no_temperature_is_in_two_splits(data: Path) -> None:
    groups_of = {
        split: {atoms.info["group"] for atoms in frames(data, split)}
        for split in ("train", "valid", "test", "test_large", "sealed")
    }
    assert sum(map(len, groups_of.values())) == len(set().union(*groups_of.values()))
    full = cu_emt.plan_groups(CuEmtOptions())
    check_groups(full)
    assert sum(group.frames for group in full) == 200 + 36 + 60 + 22 + 40


@pytest.mark.parametrize(
    "leak", [Group("test", "rattled", "a", 1), Group("test", "md", "another name", 1, temperature_k=300)]
)
def test_a_leak_between_splits_is_refused(leak: Group) -> None:
    with pytest.raises(CheckFailedError, match="in two splits"):
        check_groups([Group("train", "md", "a", 5, temperature_k=300), leak])


@pytest.mark.parametrize("split", ["train", "test_large"])
def test_labels_are_those_of_emt_under_the_names_that_mace_reads(data: Path, split: str) -> None:
    for atoms in frames(data, split):
        labels = atoms.copy()
        atoms.calc = EMT()
        assert labels.info["REF_energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-7)
        np.testing.assert_allclose(labels.arrays["REF_forces"], atoms.get_forces(), atol=1e-7)
        stress = np.reshape(labels.info["REF_stress"], (3, 3))
        np.testing.assert_allclose(stress, atoms.get_stress(voigt=False), atol=1e-7)
        assert labels.info["config_type"] in {"md", "rattled", "strained", "vacancy", "compressed"}


def test_sizes_and_the_repulsive_wall(data: Path) -> None:
    assert {len(atoms) for atoms in frames(data, "train")} <= {31, 32}
    assert {len(atoms) for atoms in frames(data, "test_large")} == {108}
    squeezed = [a for a in frames(data, "train") if a.info["config_type"] == "compressed"]
    assert min(a.get_all_distances(mic=True)[0, 1:].min() for a in squeezed) < 2.45


def nearest_a(atoms: Atoms) -> float:
    pairs_a = atoms.get_all_distances(mic=True)
    return float(pairs_a[~np.eye(len(atoms), dtype=bool)].min())


def test_no_pair_of_a_displaced_frame_decides_a_split() -> None:
    """A normal deviate has no bound, and each campaign draws its own frames."""
    families = [Group("test", kind, f"test-{kind}-0", 5) for kind in ("rattled", "vacancy", "strained")]
    for salt in range(30):
        for group in families:
            drawn = list(cu_emt._generate(group, CuEmtOptions(salt=salt)))
            assert len(drawn) == 5
            assert min(map(nearest_a, drawn)) >= cu_emt.NEAREST_A
    unbounded = cu_emt._displaced(drawn[0], np.random.default_rng(0), 0.2)
    assert nearest_a(unbounded) < cu_emt.NEAREST_A
    assert nearest_a(cu_emt._rattle(drawn[0], np.random.default_rng(0), 0.12)) >= cu_emt.NEAREST_A


def test_forces_are_minus_the_slope_of_the_energy_and_a_wrong_label_is_caught(data: Path) -> None:
    sample = frames(data, "train")[:2]
    assert check_labels(sample) < 1e-5
    sample[1].arrays["REF_forces"] *= 1.01
    assert force_deviation_ev_per_a(sample[1]) > 1e-4
    with pytest.raises(CheckFailedError, match="differ from"):
        check_labels(sample)


def test_an_existing_directory_is_left_alone(data: Path) -> None:
    before = tree_digest(data)
    with pytest.raises(InputError, match="exists"):
        cu_emt.build(SMALL, data, None)
    assert tree_digest(data) == before


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds without the check of their forces, which takes most of a small one's time."""
    monkeypatch.setattr(cu_emt, "check_labels", lambda _: 0.0)


@pytest.mark.usefixtures("unchecked")
def test_a_failed_build_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ase.io.write", full_disk)
    with pytest.raises(OSError, match="No space"):
        cu_emt.build(SMALL, tmp_path / "data", None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("unchecked")
def test_progress_counts_every_group(tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    progress: Callable[[int, int, str], None] = lambda *row: seen.append(row)  # noqa: E731
    cu_emt.build(SMALL, tmp_path / "data", progress)
    assert [row[0] for row in seen] == list(range(seen[0][1] + 1))


def test_shares_add_up() -> None:
    assert share(7, {"a": 0.5, "b": 0.3, "c": 0.2}) == {"a": 4, "b": 2, "c": 1}
