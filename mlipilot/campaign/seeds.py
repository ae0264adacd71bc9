"""The training seeds of lineages: each round of them has its own, and no two rounds share one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlipilot.errors import InputError
from mlipilot.yaml_io import line_of

_STEP = 1000
_LARGEST = (
    10**9
)  # a million rounds later it still fits into 32 bits, which NumPy's and torch's generators take


def seeds_of_round(seeds: Sequence[int], number: int) -> list[int]:
    """What lineages of round `number` train with, the first being 0, where a campaign lists `seeds`."""
    return [seed + _STEP * number for seed in seeds]


def check_seeds(seeds: Sequence[int], data: Any, path: Path) -> None:
    """Whether no two rounds of lineages have a common seed, or one too large. Raises InputError.

    For whoever begins a run: one that was begun with such seeds goes on all the same.
    """
    line = line_of(data, ("seeds",))
    where = f"'seeds'{'' if line else ' by --set'}"
    if max(seeds) > _LARGEST:
        said = f"{where}: {max(seeds)} is too large for a seed (value: {list(seeds)})"
        raise InputError(said, file=path, line=line, mend=f"give seeds up to {_LARGEST}")
    for a, b in itertools.combinations(seeds, 2):
        if (a - b) % _STEP == 0:
            raise InputError(
                f"{where}: {min(a, b)} and {max(a, b)} would give two lineages "
                f"a common seed, as each round of lineages adds {_STEP} to every seed (value: {list(seeds)})",
                file=path,
                line=line,
                mend=f"give seeds whose last three digits differ, such as {min(a, b)} and {min(a, b) + 1}",
            )
