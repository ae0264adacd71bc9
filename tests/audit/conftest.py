"""A run to be sealed, keys to seal it with, an authority to stamp that."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlipilot.paths import RunPaths
from tests.audit.stamping import Authority, time_stamp_authority
from tests.report.synthetic import SyntheticRun, make_spec


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys of alice and mallory, of two kinds, one with a passphrase, and the list that has alice alone."""
    folder = tmp_path_factory.mktemp("keys")
    for name, passphrase in (("alice", ""), ("mallory", ""), ("locked", "secret")):
        kind = "ecdsa" if name == "mallory" else "ed25519"
        words = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", name, "-f", str(folder / name)]
        subprocess.run(words, check=True)
    (folder / "signers").write_text(f"alice@example.org,al {(folder / 'alice.pub').read_text()}")
    return folder


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = SyntheticRun(tmp_path_factory.mktemp("seals") / "cu_emt", make_spec(seeds=[1]))
    made.propose(0, None, {})
    made.candidate(0, 0.0)
    made.lineage.incumbent.symlink_to("iterations/0000")
    return made.run.root


@pytest.fixture
def run(pristine: Path, tmp_path: Path) -> RunPaths:
    return RunPaths(Path(shutil.copytree(pristine, tmp_path / "cu_emt", symlinks=True)))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    with time_stamp_authority(tmp_path_factory.mktemp("tsa")) as found:
        yield found
