"""The data sets that campaigns can name: each is built from its options, the same bytes every time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from mlipilot.datasets import cu_emt
from mlipilot.datasets.base import Progress


@dataclass(frozen=True)
class Dataset:
    """One data set: what it is, the options a campaign may set, and its builder.

    `build(options, out_dir, progress)` seals `out_dir` or raises and leaves nothing behind.
    """

    name: str
    description: str
    options: type[BaseModel]
    build: Callable[[BaseModel, Path, Progress | None], None]


DATASETS: dict[str, Dataset] = {
    "cu_emt": Dataset(
        name="cu_emt",
        description="fcc copper, 31–32 atoms (108 in part of test), labelled by ASE's EMT potential",
        options=cu_emt.Options,
        build=cu_emt.build,
    ),
}
