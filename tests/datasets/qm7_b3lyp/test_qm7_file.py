"""Reading qm7.mat, with stand-ins of the same shape: water molecules, 7165 times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import molecule
from ase.units import Bohr
from scipy.io import savemat

from mlipilot.audit.files import sha256_file
from mlipilot.datasets.qm7_b3lyp.qm7_file import MOLECULES, read_qm7
from mlipilot.errors import InputError

WATER = molecule("H2O")


def stand_in(path: Path, **changes: Any) -> Path:
    charges = np.zeros((MOLECULES, 23), dtype=np.float32)
    places = np.zeros((MOLECULES, 23, 3), dtype=np.float32)
    charges[:, :3], places[:, :3] = WATER.numbers, WATER.positions / Bohr
    savemat(path, {"Z": charges, "R": places, "T": np.zeros((1, MOLECULES))} | changes)
    return path


@pytest.fixture(scope="module")
def waters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stand_in(tmp_path_factory.mktemp("qm7") / "stand-in.mat")


def test_lengths_become_angstrom_and_padding_goes(waters: Path) -> None:
    molecules = read_qm7(waters, sha256_file(waters))
    assert len(molecules) == MOLECULES
    assert molecules[-1].name == "qm7_7164"
    assert molecules[0].numbers == [8, 1, 1]
    np.testing.assert_allclose(molecules[0].positions_a, WATER.positions, atol=1e-6)


def test_another_file_than_the_published_one_is_refused(waters: Path) -> None:
    with pytest.raises(InputError, match=r"stand-in\.mat: SHA-256 .* is expected"):
        read_qm7(waters)


def _with_fluorine() -> np.ndarray:
    charges = np.zeros((MOLECULES, 23))
    charges[:, 0] = 9
    return charges


def _in_angstrom() -> np.ndarray:
    places = np.zeros((MOLECULES, 23, 3))
    places[:, :3] = WATER.positions
    return places


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"R": np.zeros((10, 23, 3))}, r"R has the shape \(10, 23, 3\)"),
        ({"Z": np.zeros((MOLECULES, 29))}, r"Z has the shape \(7165, 29\)"),
        ({"R": np.full((MOLECULES, 23, 3), np.nan)}, "not finite"),
        ({"Z": _with_fluorine()}, r"molecule 0 has elements \[9\]"),
        ({"R": np.zeros((MOLECULES, 23, 3))}, "within 0.7 Å"),
        ({"R": _in_angstrom()}, "within 0.7 Å: positions are expected in Bohr"),
        ({"Z": np.ones((MOLECULES, 23), dtype=complex)}, "Z holds complex128, and real numbers"),
    ],
)
def test_a_file_of_another_content_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = stand_in(tmp_path / "other.mat", **changes)
    with pytest.raises(InputError, match=message):
        read_qm7(path, sha256_file(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "MATLAB"), (b"no such thing" * 50, "MATLAB"), (None, "no such file")],
)
def test_what_is_no_matlab_file_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "qm7.mat"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_qm7(path, sha256_file(path) if path.exists() else None)


def test_a_file_of_another_digest_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "qm7.mat").write_bytes(b"no such thing")
    with pytest.raises(InputError, match=r"SHA-256 .* is expected"):
        read_qm7(tmp_path / "qm7.mat")


def test_a_damaged_compressed_file_is_one_message(tmp_path: Path) -> None:
    path, rng = tmp_path / "qm7.mat", np.random.default_rng(1)
    savemat(path, {"Z": rng.normal(size=(8, 9)), "R": rng.normal(size=(7, 9))}, do_compression=True)
    whole = path.read_bytes()
    for _ in range(60):
        torn = bytearray(whole)
        for place in rng.integers(120, len(torn), size=3):
            torn[place] ^= int(rng.integers(1, 256))
        path.write_bytes(torn[: int(rng.integers(len(torn) // 2, len(torn)))])
        with pytest.raises(InputError, match=r"qm7\.mat"):
            read_qm7(path, sha256_file(path))


def test_a_file_without_an_array_is_refused(tmp_path: Path) -> None:
    savemat(tmp_path / "qm7.mat", {"Z": np.zeros((MOLECULES, 23))})
    with pytest.raises(InputError, match="no array 'R'"):
        read_qm7(tmp_path / "qm7.mat", sha256_file(tmp_path / "qm7.mat"))
