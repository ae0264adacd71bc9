"""Which molecules a build labels, and which of them nobody trains on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase.data import atomic_numbers

from mlipilot.datasets.qm7_b3lyp import embedded
from mlipilot.datasets.qm7_b3lyp.qm7_file import read_qm7
from mlipilot.datasets.qm7_b3lyp.qm7_options import Qm7B3lypOptions
from mlipilot.errors import InputError
from mlipilot.nearness import did_you_mean
from mlipilot_labels.records import Molecule

_UNPAIRED = {"H": 1, "C": 2, "N": 3, "O": 2, "S": 2}  # ground states of the free atoms


def collect(options: Qm7B3lypOptions) -> list[Molecule]:
    """The molecules of `options`, and the free atoms of all five elements. Raises InputError."""
    if options.source == "qm7":
        assert options.qm7 is not None  # noqa: S101 - the options saw to it
        everything = read_qm7(options.qm7, options.qm7_sha256)
        wanted = _choose([molecule.name for molecule in everything], options)
        chosen = [molecule for molecule in everything if molecule.name in wanted]
    else:
        chosen = embedded.molecules(_choose(embedded.names(), options))
    return [*chosen, *_free_atoms()]


def _choose(names: Sequence[str], options: Qm7B3lypOptions) -> set[str]:
    if options.molecules is None:
        return set(names)
    if isinstance(options.molecules, int):
        if not 1 <= options.molecules <= len(names):
            raise InputError(f"molecules: {options.molecules}, but there are {len(names)}")
        rng = np.random.default_rng([options.seed, 1])
        return {str(name) for name in rng.choice(list(names), options.molecules, replace=False)}
    for name in options.molecules:
        if name not in names:
            raise InputError(
                f"there is no molecule {name!r} in the source {options.source}",
                mend=did_you_mean(name, names),
            )
    return set(options.molecules)


def _free_atoms() -> list[Molecule]:
    return [
        Molecule(
            name=f"atom_{symbol}",
            origin="free atom",
            numbers=[atomic_numbers[symbol]],
            positions_a=[(0.0, 0.0, 0.0)],
            relax=False,
            unpaired_electrons=unpaired,
        )
        for symbol, unpaired in _UNPAIRED.items()
    ]
