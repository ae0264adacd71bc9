"""Training data of which a part is left out: what suits one collection of structures need not suit another.

Which ones is drawn with a seed, one by one: without whole molecules or trajectories the question would be how
a model extrapolates, and gates that were set with all of them would fail for that. The rest comes in another
order.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from mlipilot.datasets.base import is_isolated_atom

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms

DRAWN = "train.xyz"
"""The file of a data set's `train/` whose structures are left out; what stops a training early is not."""


def drawn_structures(train: Path, seed: int, leave_out: float) -> dict[str, bytes]:
    """The files of a directory of training data, by name, with a share of the structures left out.

    At most that share of them, 0 to 1. Isolated atoms stay, and of each element at least one structure.
    Raises OSError or ValueError for what cannot be read.
    """
    files = {path.name: path.read_bytes() for path in sorted(train.glob("*.xyz")) if path.name != DRAWN}
    if (train / DRAWN).exists():
        files[DRAWN] = _drawn((train / DRAWN).read_bytes(), seed, leave_out)
    return files


@lru_cache(maxsize=16)  # each kept step is trained on the same
def _drawn(text: bytes, seed: int, leave_out: float) -> bytes:
    import numpy as np
    from ase.io import read, write

    frames: list[Atoms] = read(io.StringIO(text.decode()), index=":", format="extxyz")
    random = np.random.default_rng([seed, len(frames)])
    left_out = _left_out(frames, leave_out, random)
    kept = [place for place in map(int, random.permutation(len(frames))) if place not in left_out]
    stream = io.StringIO()
    write(stream, [frames[place] for place in kept], format="extxyz")
    return stream.getvalue().encode()


def _left_out(frames: Sequence[Atoms], share: float, random: np.random.Generator) -> set[int]:
    """The places of the structures that go."""
    elements = {
        place: frozenset(atoms.symbols) for place, atoms in enumerate(frames) if not is_isolated_atom(atoms)
    }
    with_element = Counter(element for of_frame in elements.values() for element in of_frame)
    most, found = int(share * len(elements)), set[int]()
    for place in map(int, random.permutation(list(elements))):
        if len(found) < most and all(with_element[element] > 1 for element in elements[place]):
            found.add(place)
            with_element.subtract(elements[place])
    return found
