"""Copper by EMT: fcc supercells that are rattled, strained, compressed, with vacancies, or from MD.

Frames are made in groups (one supercell family or one trajectory each) and a group is in exactly one
split, because neighbouring frames of a trajectory are almost the same frame.
"""

from __future__ import annotations

import multiprocessing
import os
import zlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import ase
import numpy as np
from ase import Atoms, units
from ase.build import bulk
from ase.constraints import FixCom
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.neighborlist import neighbor_list
from pydantic import BaseModel

from mlipilot.datasets.base import Group, Progress, appearing, check_groups, salted, seal_splits, share
from mlipilot.datasets.emt import ASAP_CUTOFF, check_labels, emt, label
from mlipilot.datasets.options import CuEmtOptions

LATTICE_CONSTANT_A = 3.5898  # EMT's own minimum, so that zero strain means zero pressure
NEAREST_A = 2.08
"""No displaced frame has two atoms nearer than this, where MD at 1200 K comes to. A normal deviate has no
bound: of one test split in five the worst force was that of a pair below 2.05 Å, which nothing in training is
like. The compressed frames go nearer, all neighbours at once."""
_FILES = {
    "train": "train/train.xyz",
    "valid": "train/valid.xyz",
    "test": "test/test.xyz",
    "test_large": "test/test_large.xyz",
    "sealed": "sealed/sealed.xyz",
}
_JUDGING = ("test", "test_large", "sealed")
# Shares of each kind in a split. Compressed cells teach the repulsive wall; they are in train only, since
# one at 200 GPa would drown every other stress error of a split.
_TRAIN_SHARES = {"md": 0.34, "rattled": 0.18, "strained": 0.25, "vacancy": 0.15, "compressed": 0.08}
_OTHER_SHARES = {"md": 0.42, "rattled": 0.18, "strained": 0.25, "vacancy": 0.15}
_LARGE_SHARES = {"md": 0.6, "rattled": 0.4}
# No temperature is in two splits.
_TEMPERATURES_K = {
    "train": (300, 600, 900, 1200),
    "valid": (500, 1000),
    "test": (400, 700, 1100),
    "test_large": (650, 950),
    "sealed": (450, 800, 1050),
}
_FAMILY_SIZE = 5  # frames of one supercell family


def plan_groups(options: CuEmtOptions) -> list[Group]:
    """Every group of every split: kind, name, number of frames and temperature (K, for MD)."""
    groups = []
    for split in _FILES:
        shares = {"train": _TRAIN_SHARES, "test_large": _LARGE_SHARES}.get(split, _OTHER_SHARES)
        for kind, frames in share(getattr(options, split), shares).items():
            if kind == "md":
                temperatures = _TEMPERATURES_K[split]
                even = share(frames, dict.fromkeys(map(str, temperatures), 1 / len(temperatures)))
                groups += [
                    Group(split, kind, f"{split}-md-{kelvin}K", count, int(kelvin))
                    for kelvin, count in even.items()
                    if count
                ]
            else:
                sizes = [min(_FAMILY_SIZE, frames - start) for start in range(0, frames, _FAMILY_SIZE)]
                groups += [Group(split, kind, f"{split}-{kind}-{i}", n) for i, n in enumerate(sizes)]
    return groups


def build(options: BaseModel, out_dir: Path, progress: Progress | None = None) -> None:
    """Make the data set in `out_dir` and seal it; all of it appears at once, or nothing.

    Raises InputError if `out_dir` exists, CheckFailedError if labels or splits are not what they claim.
    """
    assert isinstance(options, CuEmtOptions)  # noqa: S101 - the registry pairs builders and options
    with appearing(out_dir) as directory:
        _write(options, directory, progress or (lambda *_: None))


def _write(options: CuEmtOptions, out_dir: Path, progress: Progress) -> None:
    groups = plan_groups(options)
    check_groups(groups)
    frames: dict[str, list[Atoms]] = {split: [] for split in _FILES}
    for done, (group, labelled) in enumerate(zip(groups, _label_all(groups, options), strict=True)):
        progress(done, len(groups), group.name)
        frames[group.split] += labelled
    sample = [split[index] for split in frames.values() for index in {0, len(split) - 1}]
    deviation = check_labels(sample)
    said = {
        "dataset": "cu_emt",
        "labels": {"calculator": "ase.calculators.emt.EMT", "asap_cutoff": ASAP_CUTOFF},
        "versions": {"ase": ase.__version__, "numpy": np.__version__},
        "options": options.model_dump(),
        "lattice_constant_a": LATTICE_CONSTANT_A,
        "nearest_a": NEAREST_A,
        "force_check_worst_ev_per_a": float(f"{deviation:.1e}"),
    }
    said_of = {
        split: {
            "kinds": Counter[str](frame.info["config_type"] for frame in frames[split]),
            "groups": [group.name for group in groups if group.split == split],
        }
        for split in _FILES
    }
    seal_splits(out_dir, _FILES, frames, said, said_of)
    progress(len(groups), len(groups), "sealed")


def _label_all(groups: list[Group], options: CuEmtOptions) -> Iterator[list[Atoms]]:
    """The frames of each group, in order; a group's bytes do not depend on which process makes it."""
    work = partial(_label_group, options=options)
    processes = min(len(os.sched_getaffinity(0)), 8) if sum(g.frames for g in groups) > 60 else 1
    if processes == 1:
        yield from map(work, groups)
        return
    # spawned, not forked: the caller may have threads
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(work, groups)


def _label_group(group: Group, options: CuEmtOptions) -> list[Atoms]:
    frames = [label(atoms) for atoms in _generate(group, options)]
    for frame in frames:
        frame.info |= {"config_type": group.kind, "group": group.name}
    return frames


def _generate(group: Group, options: CuEmtOptions) -> Iterator[Atoms]:
    # the name seeds the group, so that more frames in one group leave the others as they were
    of_salt = salted(options.salt) if group.split in _JUDGING else []
    rng = np.random.default_rng([options.seed, zlib.crc32(group.name.encode()), *of_salt])
    repeats = 3 if group.split == "test_large" else 2
    cell = bulk("Cu", "fcc", a=LATTICE_CONSTANT_A, cubic=True) * (repeats, repeats, repeats)
    if group.kind == "md":
        return _trajectory(cell, group, options, rng)
    make = {"rattled": _rattled, "strained": _strained, "vacancy": _vacancy, "compressed": _compressed}
    return make[group.kind](cell, group.frames, rng)


def _trajectory(
    cell: Atoms, group: Group, options: CuEmtOptions, rng: np.random.Generator
) -> Iterator[Atoms]:
    """Langevin NVT frames at the thermally expanded lattice; three trajectories in ten have a vacancy."""
    if rng.random() < 0.3 and group.split != "test_large":
        del cell[int(rng.integers(len(cell)))]
    expansion = 1 + 2.0e-5 * group.temperature_k  # EMT copper expands by about 2e-5 per kelvin
    cell.set_cell(cell.cell * expansion, scale_atoms=True)
    cell.calc = emt()
    cell.set_constraint(FixCom())
    # starting at twice the temperature: half of it goes into the springs within a few oscillations
    thermalize_momenta(cell, temperature_K=2 * group.temperature_k, rng=rng)
    Stationary(cell)
    dynamics = Langevin(
        cell,
        timestep=options.md_timestep_fs * units.fs,
        temperature_K=group.temperature_k,
        friction=0.02 / units.fs,
        fixcm=False,  # ASE's own way is deprecated; the constraint does it
        rng=rng,
    )
    dynamics.run(2 * options.md_interval_steps)
    for _ in range(group.frames):
        dynamics.run(options.md_interval_steps)
        yield cell.copy()


def _rattled(cell: Atoms, frames: int, rng: np.random.Generator) -> Iterator[Atoms]:
    """A family with its own small strain, its frames rattled from gently to strongly."""
    _strain(cell, rng.uniform(-0.01, 0.01) * np.eye(3))
    for _ in range(frames):
        yield _rattle(cell, rng, rng.uniform(0.01, 0.12))


def _strained(cell: Atoms, frames: int, rng: np.random.Generator) -> Iterator[Atoms]:
    """Volumetric, uniaxial and shear strain of up to several percent with small displacements."""
    for index in range(frames):
        frame = cell.copy()
        strain = rng.uniform(-0.04, 0.04) * np.eye(3)
        if index % 2:
            general = rng.uniform(-0.03, 0.03, size=(3, 3))
            strain = 0.5 * strain + (general + general.T) / 2
        _strain(frame, strain)
        yield _rattle(frame, rng, rng.uniform(0.005, 0.05))


def _vacancy(cell: Atoms, frames: int, rng: np.random.Generator) -> Iterator[Atoms]:
    """One atom missing, the others rattled, the cell slightly strained."""
    del cell[int(rng.integers(len(cell)))]
    _strain(cell, rng.uniform(-0.01, 0.01) * np.eye(3))
    for _ in range(frames):
        yield _rattle(cell, rng, rng.uniform(0.01, 0.08))


def _compressed(cell: Atoms, frames: int, rng: np.random.Generator) -> Iterator[Atoms]:
    """Uniform compression to nearest neighbours between 2.05 and 2.45 Å (at zero pressure 2.54 Å)."""
    for _ in range(frames):
        frame = cell.copy()
        neighbour_a = rng.uniform(2.05, 2.45)
        _strain(frame, (neighbour_a * np.sqrt(2) / LATTICE_CONSTANT_A - 1) * np.eye(3))
        yield _displaced(frame, rng, rng.uniform(0.005, 0.05))


def _strain(cell: Atoms, strain: np.ndarray) -> None:
    cell.set_cell(cell.cell.array @ (np.eye(3) + strain), scale_atoms=True)


def _rattle(cell: Atoms, rng: np.random.Generator, sigma_a: float) -> Atoms:
    """Displaced atoms of which no two are nearer than `NEAREST_A`: drawn again until it is so."""
    while len(neighbor_list("i", frame := _displaced(cell, rng, sigma_a), NEAREST_A)):
        pass
    return frame


def _displaced(cell: Atoms, rng: np.random.Generator, sigma_a: float) -> Atoms:
    frame = cell.copy()
    frame.positions += rng.normal(scale=sigma_a, size=frame.positions.shape)
    return frame
