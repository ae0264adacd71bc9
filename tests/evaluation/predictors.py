"""Hand-overs that say nothing: sums of atomic energies, which are MACE without interaction, and chance."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from mlipilot.datasets import DATASETS
from mlipilot.evaluation.families.mace_config import HandoverConfig
from mlipilot.evaluation.families.mace_rebuilding import build
from mlipilot.evaluation.frames import read_frames
from mlipilot.handover import write_handover

from .conftest import config_json


class Benchmark(NamedTuple):
    """A shipped benchmark: its elements, and their free atoms' energies in eV."""

    name: str
    free_atoms_ev: dict[int, float]
    small: dict[str, int]
    """Options of its data set, for tests that are to be quick."""

    def data(self, out: Path, **options: int) -> Path:
        dataset = DATASETS[self.name]
        dataset.build(dataset.options.model_validate(options), out, None)
        return out


SMALL_COPPER = {"train": 12, "valid": 4, "test": 6, "test_large": 2, "sealed": 4, "md_interval_steps": 1}
COPPER = Benchmark("cu_emt", {29: 3.51}, SMALL_COPPER)
MOLECULES = Benchmark("qm7_b3lyp", {1: -13.613, 6: -1029.850, 7: -1485.320, 8: -2042.504, 16: -10832.989}, {})


def sum_of_atoms(out: Path, energies_ev: dict[int, float]) -> Path:
    """A model that gives each atom the energy of its element, wherever it is; all zero: a constant."""
    return _handed_over(out, energies_ev, scale=0.0, seed=0)


def by_chance(out: Path, energies_ev: dict[int, float], scale: float, seed: int) -> Path:
    """A model of random weights; its forces are proportional to `scale`."""
    return _handed_over(out, energies_ev, scale, seed)


def mean_energies_ev(benchmark: Benchmark, data: Path) -> dict[int, float]:
    """By element, as they fit the training energies best (least squares)."""
    frames = read_frames(data / "train" / "train.xyz")
    elements = list(benchmark.free_atoms_ev)
    counts = np.array([[(atoms.numbers == z).sum() for z in elements] for atoms in frames])
    energies = np.array([atoms.info["REF_energy"] for atoms in frames])
    found = np.linalg.lstsq(counts, energies, rcond=None)[0]
    return dict(zip(elements, map(float, found), strict=True))


def _handed_over(out: Path, energies_ev: dict[int, float], scale: float, seed: int) -> Path:
    config = config_json(
        atomic_numbers=list(energies_ev),
        atomic_energies=list(energies_ev.values()),
        atomic_inter_scale=scale,
    )
    module = build(HandoverConfig.model_validate(config), seed)
    write_handover(out, config["model_class"], config["arguments"], module)
    return out / "model"
