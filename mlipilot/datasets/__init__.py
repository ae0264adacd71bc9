"""The data sets that campaigns can name: each is built from its options, the same bytes every time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from mlipilot.datasets.base import Progress
from mlipilot.datasets.options import CuEmtOptions, ImportedOptions
from mlipilot.datasets.qm7_b3lyp.qm7_options import Qm7B3lypOptions
from mlipilot.errors import InputError
from mlipilot.nearness import did_you_mean


@dataclass(frozen=True)
class Dataset:
    """One data set: what it is, the options a campaign may set, and its builder.

    `build(options, out_dir, progress)` seals `out_dir` or raises and leaves nothing behind.
    """

    description: str
    options: type[BaseModel]
    build: Callable[[BaseModel, Path, Progress | None], None]


def find_dataset(name: str, file: Path | None = None) -> Dataset:
    """The data set of a name, which `file` may have given. Raises InputError where there is none."""
    if name not in DATASETS:
        mend = did_you_mean(name, DATASETS, "the data sets are")
        raise InputError(f"unknown data set {name!r}", file=file, mend=mend)
    return DATASETS[name]


def _build_cu_emt(options: BaseModel, out_dir: Path, progress: Progress | None) -> None:
    from mlipilot.datasets import cu_emt  # ASE: not before it is needed

    cu_emt.build(options, out_dir, progress)


def _build_imported(options: BaseModel, out_dir: Path, progress: Progress | None) -> None:
    from mlipilot.datasets.imported import campaign

    campaign.build(options, out_dir, progress)


def _build_qm7_b3lyp(options: BaseModel, out_dir: Path, progress: Progress | None) -> None:
    from mlipilot.datasets.qm7_b3lyp import build

    build.build(options, out_dir, progress)


DATASETS: dict[str, Dataset] = {
    "cu_emt": Dataset(
        description="fcc copper, 31–32 atoms (108 in part of test), labelled by ASE's EMT potential",
        options=CuEmtOptions,
        build=_build_cu_emt,
    ),
    "qm7_b3lyp": Dataset(
        description="molecules of H, C, N, O and S, labelled by B3LYP/6-31G(d); some are never trained on",
        options=Qm7B3lypOptions,
        build=_build_qm7_b3lyp,
    ),
    "imported": Dataset(
        description="labelled structures of the user's own, by `mlipilot data import`",
        options=ImportedOptions,
        build=_build_imported,
    ),
}
