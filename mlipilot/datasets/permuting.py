"""Training data whose labels belong to other structures: nothing of the system can be learnt from them.

The control is that of permutation tests: what was learnt from labels is gone once they are permuted, and who
still knows the true ones has them from elsewhere. Structures stay as they are, and each kind of label keeps
its values, so that a training meets numbers of the size that it is used to:

- forces change places among all atoms of an element;
- the rest of an energy per atom beyond the elements' mean energies changes places among structures;
- stresses change places among structures that have one.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlipilot.datasets.base import ENERGY_KEY, FORCES_KEY, STRESS_KEY

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms
    from numpy.typing import NDArray

_DECIMALS = 6  # eV/atom: a fit's last digits differ between machines, and the bytes may not
_OFF_TIES = 10.0**-_DECIMALS / 3.14159265358979  # round labels would lie where rounding goes either way


def permuted_labels(train: Path, seed: int) -> dict[str, bytes]:
    """The extxyz files of a directory of training data, by name, with their labels permuted by `seed`.

    Isolated atoms keep theirs. Raises OSError or ValueError for what cannot be read.
    """
    from ase.io import read, write

    files = {}
    for place, path in enumerate(sorted(train.glob("*.xyz"))):
        frames: list[Atoms] = read(path, index=":", format="extxyz")
        _permute([atoms for atoms in frames if len(atoms) > 1 or atoms.pbc.any()], [seed, place])
        stream = io.StringIO()
        write(stream, frames, format="extxyz")
        files[path.name] = stream.getvalue().encode()
    return files


def explained_by(permuted: bytes, true: Path) -> float:
    """How much of the variance of a file's forces their permutation explains, 1 − Σ|F' − F|² / Σ|F|².

    0 where there are no forces. Raises OSError or ValueError for what cannot be read.
    """
    import numpy as np
    from ase.io import read

    found = []
    for source in (true, io.StringIO(permuted.decode())):
        frames = read(source, index=":", format="extxyz")
        found.append([atoms.arrays[FORCES_KEY] for atoms in frames if FORCES_KEY in atoms.arrays])
    if not found[0]:
        return 0.0
    forces, others = map(np.concatenate, found)
    squares = float((forces**2).sum())
    return 1.0 - float(((others - forces) ** 2).sum()) / squares if squares else 0.0


def _permute(frames: Sequence[Atoms], seed: Sequence[int]) -> None:
    import numpy as np

    random = np.random.default_rng(seed)
    with_forces = [atoms for atoms in frames if FORCES_KEY in atoms.arrays]
    if with_forces:
        forces = np.concatenate([atoms.arrays[FORCES_KEY] for atoms in with_forces])
        numbers = np.concatenate([atoms.numbers for atoms in with_forces])
        for number in np.unique(numbers):
            of_element = np.flatnonzero(numbers == number)
            forces[of_element] = forces[random.permutation(of_element)]
        begin = 0
        for atoms in with_forces:
            atoms.arrays[FORCES_KEY] = forces[begin : begin + len(atoms)]
            begin += len(atoms)
    labelled = [atoms for atoms in frames if ENERGY_KEY in atoms.info]
    order = random.permutation(len(labelled))
    for atoms, change in zip(labelled, _changes_ev_per_atom(labelled, order), strict=True):
        atoms.info[ENERGY_KEY] = round(float(atoms.info[ENERGY_KEY]) + len(atoms) * change, _DECIMALS)
    stressed = [atoms for atoms in frames if STRESS_KEY in atoms.info]
    stresses = [atoms.info[STRESS_KEY] for atoms in stressed]
    for atoms, other in zip(stressed, random.permutation(len(stressed)), strict=True):
        atoms.info[STRESS_KEY] = stresses[other]


def _changes_ev_per_atom(frames: Sequence[Atoms], order: NDArray[np.int64]) -> Iterator[float]:
    """By how much each energy per atom changes where structure i gets the rest of structure `order[i]`."""
    import numpy as np

    if not frames:
        return
    elements = np.unique(np.concatenate([atoms.numbers for atoms in frames]))
    shares = np.array([[(atoms.numbers == z).mean() for z in elements] for atoms in frames])
    energies = np.array([atoms.info[ENERGY_KEY] / len(atoms) for atoms in frames])
    of_elements = np.linalg.lstsq(shares, energies, rcond=None)[0]
    rest = np.round(energies - shares @ of_elements + _OFF_TIES, _DECIMALS)
    yield from map(float, rest[order] - rest)
