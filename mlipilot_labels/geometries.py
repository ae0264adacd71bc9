"""Geometries of one molecule: its minimum, thermal displacements along normal modes, and rattled atoms.

Displacements along mode i of the mass-weighted Hessian are normal with variance kT/ωᵢ², the classical
Boltzmann distribution in the harmonic approximation. The Hessian is GFN2-xTB's. Modes below
`soft_mode_floor_per_cm` are drawn as if they were that stiff: along a straight line a torsion stretches bonds
long before it has turned far.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import CalculatorError
from ase.data import covalent_radii
from ase.optimize import BFGS

from mlipilot.versions import versions
from mlipilot_labels.geometry_settings import Sampling
from mlipilot_labels.method import chemistry
from mlipilot_labels.records import Geometry, Molecule, NoGeometryError, Scalar, rows

_MAX_DRAWS = 100
_MAX_RELAXATION_STEPS = 500
_BONDED = 1.25  # of the sum of covalent radii, in the minimum
_STEP_A = 0.005
_EV_PER_ROOT = units._hbar * 1e10 / np.sqrt(units._e * units._amu)  # ħω = this × √(eV/Å²/u)


def geometries(source: Molecule, options: Sampling) -> list[Geometry]:
    """The geometries of a molecule, the same for the same seed and name.

    Raises NoGeometryError when GFN2-xTB fails on it, InputError without tblite.
    """
    if len(source.numbers) == 1:
        return [Geometry(kind="isolated_atom", positions_a=source.positions_a)]
    try:
        return _sampled(source, options)
    except (CalculatorError, np.linalg.LinAlgError) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise NoGeometryError(source.name, f"fails with GFN2-xTB: {said[0]}") from None


def _sampled(source: Molecule, options: Sampling) -> list[Geometry]:
    rng = np.random.default_rng([options.seed, zlib.crc32(source.name.encode())])
    start = Atoms(source.numbers, source.positions_a)
    start.calc = chemistry("tblite.ase").TBLite(method="GFN2-xTB", verbosity=0)
    if source.relax:
        _relax(start, source.name)
    modes = NormalModes(start.numbers, start.positions, hessian_ev_per_a2(start))
    packages = versions(("tblite", "ase"))
    by: dict[str, Scalar] = {f"{name}_version": number for name, number in packages.items()}
    relaxed: dict[str, Scalar] = {"relaxed": "GFN2-xTB", **by} if source.relax else {}
    made = [Geometry(kind="equilibrium", positions_a=rows(start.positions), sampling=relaxed)]
    for temperature in options.temperatures_k:
        how: dict[str, Scalar] = {
            "temperature_k": temperature,
            "hessian": "GFN2-xTB",
            "soft_mode_floor_per_cm": options.soft_mode_floor_per_cm,
            **by,
        }
        draw = partial(modes.draw, temperature, options.soft_mode_floor_per_cm, rng)
        made += [_drawn("normal_mode", start, draw, how, options) for _ in range(options.normal_mode)]

    def rattle() -> np.ndarray:
        return np.asarray(rng.normal(scale=options.rattle_sigma_a, size=start.positions.shape))

    how = {"sigma_a": options.rattle_sigma_a, **relaxed}
    made += [_drawn("rattled", start, rattle, how, options) for _ in range(options.rattled)]
    return made


def _relax(atoms: Atoms, name: str) -> None:
    optimizer = BFGS(atoms, logfile=None)
    if not optimizer.run(fmax=0.002, steps=_MAX_RELAXATION_STEPS):
        raise NoGeometryError(name, f"does not relax with GFN2-xTB in {_MAX_RELAXATION_STEPS} steps")


def hessian_ev_per_a2(atoms: Atoms) -> np.ndarray:
    """d²E/dR², (3 atoms, 3 atoms), by central differences of the calculator's forces."""
    still = atoms.positions.copy()
    columns = []
    for index in range(still.size):
        pair = []
        for sign in (1, -1):
            shift = np.zeros(still.size)
            shift[index] = sign * _STEP_A
            atoms.positions = still + shift.reshape(still.shape)
            pair.append(atoms.get_forces().ravel())
        columns.append((pair[1] - pair[0]) / (2 * _STEP_A))
    atoms.positions = still
    hessian = np.array(columns)
    return np.asarray((hessian + hessian.T) / 2)


class NormalModes:
    """Harmonic modes, no translations or rotations. `positions_a`: (n, 3), `hessian`: (3n, 3n) in eV/Å²."""

    def __init__(self, numbers: Any, positions_a: np.ndarray, hessian: np.ndarray) -> None:
        self.roots = np.sqrt(np.repeat(Atoms(numbers).get_masses(), 3))
        basis = _vibrations(positions_a, self.roots)
        self.curvatures, inner = np.linalg.eigh(
            basis.T @ (hessian / np.outer(self.roots, self.roots)) @ basis
        )
        self.vectors = basis @ inner

    @property
    def per_cm(self) -> np.ndarray:
        """Wavenumbers in 1/cm, ascending; an imaginary one is negative."""
        size = np.sqrt(np.abs(self.curvatures)) * _EV_PER_ROOT / units.invcm
        return np.asarray(np.sign(self.curvatures) * size)

    def draw(self, temperature_k: float, floor_per_cm: float, rng: np.random.Generator) -> np.ndarray:
        """A random thermal displacement in Å, (atoms, 3)."""
        floor = (floor_per_cm * units.invcm / _EV_PER_ROOT) ** 2
        widths = np.sqrt(units.kB * temperature_k / np.maximum(self.curvatures, floor))
        amplitudes = rng.normal(size=len(widths)) * widths
        return np.asarray((self.vectors @ amplitudes / self.roots).reshape(-1, 3))


def _vibrations(positions_a: np.ndarray, roots: np.ndarray) -> np.ndarray:
    """An orthonormal basis of what is neither translation nor rotation: 3n − 6 columns, 3n − 5 if linear."""
    masses = roots[::3] ** 2
    centred = positions_a - masses @ positions_a / masses.sum()
    rigid = [np.tile(axis, len(masses)) for axis in np.eye(3)]
    rigid += [np.cross(axis, centred).ravel() for axis in np.eye(3)]
    left, sizes, _ = np.linalg.svd((np.array(rigid) * roots).T, full_matrices=True)
    return np.asarray(left[:, int((sizes > 1e-3 * sizes[0]).sum()) :])


def _drawn(
    kind: Any, start: Atoms, draw: Callable[[], np.ndarray], how: dict[str, Scalar], options: Sampling
) -> Geometry:
    for refused in range(_MAX_DRAWS):
        positions = start.positions + draw()
        if is_sound(start.numbers, start.positions, positions, options):
            return Geometry(
                kind=kind,
                positions_a=rows(positions),
                sampling=how | {"seed": options.seed, "refused_draws": refused},
            )
    return Geometry(kind=kind, positions_a=None, sampling=how | {"refused_draws": _MAX_DRAWS})


def is_sound(numbers: Any, start_a: np.ndarray, positions_a: np.ndarray, options: Sampling) -> bool:
    """Whether no two atoms clash and no bond of the start is torn."""
    first, second = np.triu_indices(len(numbers), 1)
    radii = covalent_radii[numbers]
    sums = radii[first] + radii[second]
    before = np.linalg.norm(start_a[first] - start_a[second], axis=1) / sums
    after = np.linalg.norm(positions_a[first] - positions_a[second], axis=1) / sums
    bonded = before < _BONDED
    return bool(np.all(after > options.clash_ratio) and np.all(after[bonded] < options.torn_ratio))
