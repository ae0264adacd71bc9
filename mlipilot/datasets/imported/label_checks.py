"""What labels must obey, whatever method they come from: energies and forces belong together, and no frame
stands twice, or far from all others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from ase.geometry import find_mic, get_distances
from numpy.typing import NDArray

from mlipilot.audit.files import sha256_bytes
from mlipilot.datasets.imported.frame_files import (
    ENERGIES_IN_EV,
    LENGTHS_IN_A,
    PER_ATOM,
    Frame,
    Labels,
    energy_factor,
    forces_factor,
)
from mlipilot.errors import InputError

MAX_PAIRS = 400
FEWEST_PAIRS = 8
"""Below this many pairs of like frames nothing is concluded from them."""
LARGEST_STEP_A = 0.5
"""Of one atom, from one frame of a pair to the other."""
SLOPE_TOLERANCE = 0.25
OUTLIER_SIGMAS = 12.0
"""Robust standard deviations (1.4826 × the median absolute deviation) from the median."""
SMALLEST_OUTLIER_EV_PER_ATOM = 0.5
"""Energies nearer than this to their expectation are never outliers."""
FEWEST_OF_FORMULA = 5
"""Frames of one formula whose median says what its energy is."""
LARGEST_TO_SMALLEST = 1.5
"""Numbers of atoms: with less between them, nothing is concluded from how energies grow."""
FORMULAS_TO_SPARE = 3
"""More formulas than energies of elements that are fitted to them."""
CLEARLY_BETTER = 3.0
"""Of two fits, by the root mean square of what they leave."""
TOO_CLOSE = 0.5
"""Of the sum of two covalent radii."""


@dataclass(frozen=True)
class Consistency:
    """How energies follow the forces. `slope` is ΔE over −F̄·Δx, 1 when they belong together."""

    pairs: int
    slope: float | None
    """None where too few frames are near enough to one another."""


def energies_follow_forces(frames: Sequence[Frame]) -> Consistency:
    """The median of ΔE / (−(F₁+F₂)/2 · Δx) over pairs of successive frames of the same atoms.

    The trapezoidal rule: its error is of third order in the step. Pairs whose work is lost in the rounding of
    their energies are left out.
    """
    slopes = []
    for first, second in _like_pairs(frames):
        step = second.atoms.positions - first.atoms.positions
        if second.atoms.pbc.any():
            step, _ = find_mic(step, second.atoms.cell, second.atoms.pbc)
        if np.linalg.norm(step, axis=1).max() > LARGEST_STEP_A:
            continue
        work_ev = -float(np.sum((first.forces_ev_per_a + second.forces_ev_per_a) / 2 * step))
        moved_ev = float(np.sum(np.linalg.norm(first.forces_ev_per_a, axis=1) * np.linalg.norm(step, axis=1)))
        if abs(work_ev) < 1e-6 or abs(work_ev) < 0.1 * moved_ev:
            continue  # of two contributions that cancel, the error of the rule is what is left
        slopes.append((second.energy_ev - first.energy_ev) / work_ev)
        if len(slopes) == MAX_PAIRS:
            break
    return Consistency(len(slopes), float(np.median(slopes)) if len(slopes) >= FEWEST_PAIRS else None)


def _like_pairs(frames: Sequence[Frame]) -> list[tuple[Frame, Frame]]:
    like: dict[bytes, list[Frame]] = defaultdict(list)
    for frame in frames:
        atoms = frame.atoms
        like[atoms.numbers.tobytes() + atoms.cell.array.tobytes() + atoms.pbc.tobytes()].append(frame)
    return [pair for alike in like.values() for pair in pairwise(alike)]


def check_consistency(frames: Sequence[Frame], labels: Labels) -> Consistency:
    """Raises InputError that names the unit, or the sign, that would explain the labels."""
    found = energies_follow_forces(frames)
    if found.slope is None:
        _check_growth(frames, labels)
        return found
    if abs(found.slope - 1) <= SLOPE_TOLERANCE:
        return found
    atoms = float(np.mean([len(frame.atoms) for frame in frames]))
    raise InputError(
        f"energies do not follow the forces: over {found.pairs} pairs of like frames ΔE is {found.slope:.4g} "
        "times what the forces say",
        mend=_explanation(found.slope, atoms, labels),
    )


def unverified(found: Consistency) -> list[str]:
    """What to tell where too few pairs say anything of the units."""
    if found.slope is not None:
        return []
    return [
        f"units not verified: only {found.pairs} pairs of frames are near enough to compare energies with "
        "forces, so Hartree would pass for eV; see that --energy-unit and --forces-unit are your program's"
    ]


def _check_growth(frames: Sequence[Frame], labels: Labels) -> None:
    """Do energies, as they stand in the files, grow with the number of atoms as their unit says?

    To the medians of the formulas we fit E = Σ n_z ε_z, as of whole structures, and E = Σ x_z ε_z, as per
    atom. Raises InputError when the one that the unit does not mean is clearly better.
    """
    of_formula = _of_formula(frames)
    counts = _counts([frames[members[0]].atoms for members in of_formula.values()])
    atoms = counts.sum(axis=1)
    fitted = int(np.linalg.matrix_rank(counts))
    if atoms.max() < LARGEST_TO_SMALLEST * atoms.min() or len(atoms) < fitted + FORMULAS_TO_SPARE:
        return
    _, per_atom = energy_factor(labels.energy_unit)
    of_each = [[frames[index].energy_ev for index in members] for members in of_formula.values()]
    medians = np.array([np.median(energies) for energies in of_each])
    given = medians / atoms if per_atom else medians
    left = {
        "of whole structures": _left_by_fit(counts, given),
        "per atom": _left_by_fit(counts / atoms[:, None], given),
    }
    meant, other = reversed(left) if per_atom else left
    if CLEARLY_BETTER * left[other] >= left[meant]:
        return
    unit = labels.energy_unit.removesuffix(PER_ATOM) + ("" if per_atom else PER_ATOM)
    raise InputError(
        f"suspicious energies: from {atoms.min():.0f} to {atoms.max():.0f} atoms they go as energies {other} "
        f"(fits by element leave {left[other]:.3g} eV), not as energies {meant} ({left[meant]:.3g} eV)",
        mend=f"--energy-unit {unit} if they are {other}; "
        "if they are differences, give those to free atoms or to the elements",
    )


def _left_by_fit(terms: NDArray[np.float64], energies: NDArray[np.float64]) -> float:
    """Root mean square of what the least squares leave, in the energies' unit."""
    left = energies - terms @ np.linalg.lstsq(terms, energies, rcond=None)[0]
    return float(np.sqrt(np.mean(left**2)))


def _of_formula(frames: Sequence[Frame]) -> dict[str, list[int]]:
    """The frames of each formula."""
    found: dict[str, list[int]] = defaultdict(list)
    for index, frame in enumerate(frames):
        found[frame.atoms.get_chemical_formula()].append(index)
    return found


def _counts(structures: Sequence[Atoms]) -> NDArray[np.float64]:
    """Atoms of each element, (structures, elements)."""
    elements = sorted({int(z) for atoms in structures for z in atoms.numbers})
    return np.array([[np.sum(atoms.numbers == z) for z in elements] for atoms in structures], dtype=float)


def _explanation(slope: float, atoms: float, labels: Labels) -> str:
    """The mistake that would give this slope, if one of the common ones does."""
    energy_ev, per_atom = energy_factor(labels.energy_unit)
    forces_ev_per_a = forces_factor(labels.forces_unit)
    mistakes = {"gradients in place of forces: turn their sign": -1.0}
    if per_atom:
        mistakes["energies of the whole structure: --energy-unit without /atom"] = atoms
    else:
        mistakes[f"energies per atom: --energy-unit {labels.energy_unit}{PER_ATOM}"] = 1 / atoms
    for name, ev in ENERGIES_IN_EV.items():
        mistakes[f"energies in {name}: --energy-unit"] = energy_ev / ev
        for length, a in LENGTHS_IN_A.items():
            mistakes[f"forces in {name}/{length}: --forces-unit"] = ev / a / forces_ev_per_a
    likely = {
        what: abs(np.log(slope / ratio))
        for what, ratio in mistakes.items()
        if slope * ratio > 0 and abs(ratio - 1) > SLOPE_TOLERANCE
    }
    nearest = sorted(likely, key=lambda what: float(likely[what]))[:2]
    fitting = [what for what in nearest if likely[what] < SLOPE_TOLERANCE]
    if fitting:
        return f"it looks like {', or '.join(fitting)}"
    return "look at the keys and the units, and whether energies are of the same method as forces"


def doubles(frames: Sequence[Frame]) -> list[tuple[int, int]]:
    """Pairs (earlier, later) of frames with the same atoms at the same places."""
    seen: dict[str, int] = {}
    found = []
    for index, frame in enumerate(frames):
        atoms = frame.atoms
        places = np.round(np.concatenate([atoms.positions, atoms.cell.array]), 6) + 0.0
        key = sha256_bytes(atoms.numbers.tobytes() + places.tobytes() + atoms.pbc.tobytes())
        if key in seen:
            found.append((seen[key], index))
        else:
            seen[key] = index
    return found


def outliers(frames: Sequence[Frame]) -> dict[int, str]:
    """Why a frame is far from all others: by energy, by its largest force, or by atoms upon one another."""
    found = {}
    energies = _energies_above_composition_ev_per_atom(frames)
    largest = np.array([np.linalg.norm(frame.forces_ev_per_a, axis=1).max() for frame in frames])
    unlikely_energy = _far(energies) & (np.abs(energies - np.median(energies)) > SMALLEST_OUTLIER_EV_PER_ATOM)
    unlikely_force = _far(np.log(largest + 1e-3)) & (largest > np.median(largest))
    for index, frame in enumerate(frames):
        closest = _closest(frame)
        if closest < TOO_CLOSE:
            found[index] = f"two atoms at {closest:.2f} of the sum of their covalent radii"
        elif unlikely_energy[index]:
            found[index] = f"its energy is {energies[index]:+.3g} eV/atom off what its composition explains"
        elif unlikely_force[index]:
            found[index] = (
                f"a force of {largest[index]:.3g} eV/Å; the median of the largest is {np.median(largest):.3g}"
            )
    return found


def _energies_above_composition_ev_per_atom(frames: Sequence[Frame]) -> NDArray[np.float64]:
    """Above the median of the same formula or, where that has few frames, above what its elements explain.

    The elements' energies are fitted to the formulas' medians, which a few wrong frames do not move.
    """
    of_formula = _of_formula(frames)
    per_atom = np.array([frame.energy_ev / len(frame.atoms) for frame in frames])
    medians = np.array([np.median(per_atom[members]) for members in of_formula.values()])
    counts = _counts([frames[members[0]].atoms for members in of_formula.values()])
    shares = counts / counts.sum(axis=1, keepdims=True)
    explained = shares @ np.linalg.lstsq(shares, medians, rcond=None)[0]
    above = np.empty(len(frames))
    for members, median, fitted in zip(of_formula.values(), medians, explained, strict=True):
        above[members] = per_atom[members] - (median if len(members) >= FEWEST_OF_FORMULA else fitted)
    return above


def _far(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    middle = np.median(values)
    spread = 1.4826 * np.median(np.abs(values - middle))
    far: NDArray[np.bool_] = np.abs(values - middle) > OUTLIER_SIGMAS * max(float(spread), 1e-9)
    return far


def _closest(frame: Frame) -> float:
    """The shortest distance over the sum of the two covalent radii; infinity for a single atom."""
    atoms = frame.atoms
    if len(atoms) < 2:
        return float("inf")
    _, distances = get_distances(atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    radii = covalent_radii[atoms.numbers]
    ratios = distances / (radii[:, None] + radii[None, :])
    return float(ratios[~np.eye(len(atoms), dtype=bool)].min())
