"""Training data of which a part is left out: what suits one collection of structures need not suit another.

Which ones is drawn with a seed, one by one: without whole molecules or trajectories the question would be how
a model extrapolates, which gates do not ask. The rest comes in another order, each structure with the bytes
that it had.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

DRAWN = "train.xyz"
"""The file of a data set's `train/` whose structures are left out; what stops a training early is not."""
_PROPERTIES = re.compile(rb'\bProperties="?([^\s"]+)')
_IN_EMPTY_SPACE = re.compile(rb'\bpbc="F F F"')


class Structure(NamedTuple):
    """A frame of an extxyz file."""

    text: bytes
    elements: frozenset[bytes]
    is_isolated_atom: bool
    """One atom in empty space, which gives the zero of its element's energy."""


def drawn_structures(train: Path, seed: int, leave_out: float) -> dict[str, bytes]:
    """The files of a directory of training data, by name, with a share of the structures left out.

    At most that share of them, 0 to 1. Isolated atoms stay, and of each element at least one structure.
    Raises OSError or ValueError for what cannot be read.
    """
    import numpy as np

    files = {path.name: path.read_bytes() for path in sorted(train.glob("*.xyz"))}
    if DRAWN in files:
        found = list(structures(files[DRAWN]))
        random = np.random.default_rng([seed, len(found)])
        left_out = _left_out(found, leave_out, random)
        order = map(int, random.permutation(len(found)))
        files[DRAWN] = b"".join(found[place].text for place in order if place not in left_out)
    return files


def structures(text: bytes) -> Iterator[Structure]:
    """The frames of an extxyz file as it is written here, unchanged. Raises ValueError for what is none."""
    lines = text.splitlines(keepends=True)
    begin = 0
    while begin < len(lines):
        atoms = int(lines[begin])
        end = begin + 2 + atoms
        properties = _PROPERTIES.search(lines[begin + 1]) if end <= len(lines) and atoms > 0 else None
        if properties is None:
            raise ValueError(f"line {begin + 1}: no frame of {atoms} atoms with their properties")
        column = _column_of_species(properties.group(1))
        elements = frozenset(line.split()[column] for line in lines[begin + 2 : end])
        is_alone = atoms == 1 and _IN_EMPTY_SPACE.search(lines[begin + 1]) is not None
        yield Structure(b"".join(lines[begin:end]), elements, is_alone)
        begin = end


def _column_of_species(properties: bytes) -> int:
    told = properties.split(b":")
    names, widths = told[0::3], told[2::3]
    return sum(map(int, widths[: names.index(b"species")]))


def _left_out(found: Sequence[Structure], share: float, random: np.random.Generator) -> set[int]:
    """The places of the structures that go."""
    places = [place for place, each in enumerate(found) if not each.is_isolated_atom]
    with_element = Counter(element for place in places for element in found[place].elements)
    most, gone = int(share * len(places)), set[int]()
    for place in map(int, random.permutation(places)):
        if len(gone) < most and all(with_element[element] > 1 for element in found[place].elements):
            gone.add(place)
            with_element.subtract(found[place].elements)
    return gone
