"""Reading QM7 from the user's file: 7165 molecules of up to 23 atoms (Rupp et al., PRL 108, 058301)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ase.units import Bohr

from mlipilot.audit.files import sha256_file
from mlipilot.errors import InputError
from mlipilot_labels.method import chemistry
from mlipilot_labels.records import Molecule, rows

MOLECULES, MAX_ATOMS = 7165, 23
SHA256 = (
    "fd6c26c1086887310518e6a6da778253bc5d3ceb8166007a679a740fff9ee6ea"  # of the published 17,884,280 bytes
)
# No bond of QM7 is that short: the shortest, O-H, has 0.95 Å (there is no H2). A C-H bond of 1.1 Å that is in
# Å already and is taken for Bohr has 0.58.
_NEAREST_A = 0.7
_ELEMENTS = {1, 6, 7, 8, 16}
_SHAPES = {"R": (MOLECULES, MAX_ATOMS, 3), "Z": (MOLECULES, MAX_ATOMS)}


def read_qm7(path: Path, sha256: str | None = None) -> list[Molecule]:
    """All molecules, lengths turned from Bohr to Å, named by their place in the file from qm7_0000.

    Raises InputError for another digest than `sha256` (the published file's if None), shape or elements.
    """
    check_file(path, sha256)
    arrays = _arrays(path)
    origin = origin_of(sha256)
    molecules = []
    for index, (charges, places) in enumerate(zip(arrays["Z"], arrays["R"], strict=True)):
        atoms = charges != 0
        if strange := sorted(set(charges[atoms].astype(int).tolist()) - _ELEMENTS):
            raise InputError(
                f"molecule {index} has elements {strange}, and only H C N O S are known", file=path
            )
        positions = places[atoms] * Bohr
        if len(positions) == 0 or _nearest_a(positions) < _NEAREST_A:
            raise InputError(
                f"molecule {index} has no atoms or two within {_NEAREST_A} Å: positions are expected in Bohr",
                file=path,
                mend="give the published file; one in Å would come out at half its size",
            )
        molecules.append(
            Molecule(
                name=f"qm7_{index:04d}",
                origin=origin,
                numbers=charges[atoms].astype(int).tolist(),
                positions_a=rows(positions),
                relax=False,
            )
        )
    return molecules


def check_file(path: Path, sha256: str | None = None) -> None:
    """Raises InputError unless the file is there and has that digest, the published one's if None."""
    wanted = sha256 or SHA256
    if not path.is_file():
        raise InputError(
            "there is no such file", file=path, mend="QM7 is not distributed with the toolkit: bring qm7.mat"
        )
    if (found := sha256_file(path)) != wanted:
        raise InputError(
            f"SHA-256 {found}, but {wanted} is expected",
            file=path,
            mend="a copy may be damaged; if this one is meant, set qm7_sha256 to its digest",
        )


def origin_of(sha256: str | None) -> str:
    """What each frame of that file says of where it comes from."""
    return f"QM7, file of SHA-256 {sha256 or SHA256}"


def _arrays(path: Path) -> dict[str, Any]:
    """R and Z. Raises InputError for what is no MATLAB file or of another shape."""
    loader = chemistry("scipy.io")
    try:
        arrays = loader.loadmat(path, variable_names=list(_SHAPES), appendmat=False)
    except Exception as error:  # noqa: BLE001 - a damaged one is a zlib.error, an IndexError, a TypeError, …
        raise InputError(
            f"cannot be read as a MATLAB file ({type(error).__name__}: {str(error)[:100]})",
            file=path,
            mend="bring it anew: a copy may be damaged",
        ) from None
    for name, shape in _SHAPES.items():
        if name not in arrays:
            raise InputError(f"there is no array {name!r} in it", file=path, mend="QM7 has X, R, Z, T and P")
        if arrays[name].shape != shape:
            raise InputError(f"{name} has the shape {arrays[name].shape}, and QM7's is {shape}", file=path)
        if arrays[name].dtype.kind not in "fiu":
            raise InputError(f"{name} holds {arrays[name].dtype}, and real numbers are expected", file=path)
        if not np.isfinite(arrays[name]).all():
            raise InputError(f"{name} holds numbers that are not finite", file=path)
    return dict(arrays)


def _nearest_a(positions: np.ndarray) -> float:
    if len(positions) < 2:
        return np.inf
    apart = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    return float(apart[np.triu_indices(len(positions), 1)].min())
