"""An imported set in a campaign is the one that was named, or the run does not begin."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlipilot.audit.files import sha256_file, tree_digest
from mlipilot.audit.manifest import MANIFEST, write_manifest
from mlipilot.datasets import DATASETS
from mlipilot.datasets.options import ImportedOptions
from mlipilot.errors import InputError


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    directory = tmp_path / "mine"
    (directory / "train").mkdir(parents=True)
    (directory / "train" / "train.xyz").write_text("1\n\nH 0 0 0\n")
    write_manifest(directory)
    return directory


def options_of(directory: Path) -> ImportedOptions:
    return ImportedOptions(path=directory, manifest_sha256=sha256_file(directory / MANIFEST))


def test_it_is_copied_whole(sealed: Path, tmp_path: Path) -> None:
    DATASETS["imported"].build(options_of(sealed), tmp_path / "run" / "data", None)
    assert tree_digest(tmp_path / "run" / "data") == tree_digest(sealed)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["data"]


def test_another_or_a_changed_one_is_refused_and_leaves_nothing(sealed: Path, tmp_path: Path) -> None:
    options = options_of(sealed)
    (sealed / "train" / "train.xyz").write_text("1\n\nHe 0 0 0\n")
    with pytest.raises(InputError, match="not as it was sealed"):
        DATASETS["imported"].build(options, tmp_path / "run" / "data", None)
    write_manifest(sealed)
    with pytest.raises(InputError, match="another one than the campaign names"):
        DATASETS["imported"].build(options, tmp_path / "run" / "data", None)
    (sealed / MANIFEST).unlink()
    with pytest.raises(InputError, match="no sealed data set"):
        DATASETS["imported"].build(options, tmp_path / "run" / "data", None)
    assert not (tmp_path / "run").exists()
