"""Self-consistent fields: two grids for speed, and a ladder for what does not converge at once.

Most of a small molecule's time goes into integrating the exchange-correlation potential on the fine grid.
So the density is converged on a coarse grid whose potential carries a constant correction, the fine one's
minus the coarse one's at the density found before. Once that density does not change any more, the corrected
potential is the fine one. What is accepted was tested with the fine grid's own Fock matrix, so this costs two
or three evaluations on the fine grid instead of ten, and nothing of the accuracy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from mlipilot.errors import InputError
from mlipilot_labels.method import (
    AUXILIARY_BASIS,
    BASIS,
    CARTESIAN,
    COARSE_GRID_LEVEL,
    CONV_TOL_HARTREE,
    GRID_LEVEL,
    XC,
    chemistry,
)

_MAX_CORRECTIONS = 6
_BLOCK_POINTS = 80 * 56  # PySCF counts grid points in units of 56
_GRADIENT_TOL = CONV_TOL_HARTREE**0.5  # of the orbital gradient's norm, as PySCF has it


@dataclass(frozen=True)
class Converged:
    """A converged field: PySCF's mean field, its Fock matrix, and the rung of the ladder that it took."""

    field: Any
    fock: Any
    rung: str


def molecule(numbers: Any, positions_a: Any, *, spin: int | None = None) -> Any:
    """PySCF's molecule, neutral. `positions_a`: (atoms, 3) in Å. `spin`: unpaired electrons, None by parity.

    Raises InputError for an element without basis.
    """
    gto = chemistry("pyscf.gto")
    _check_basis(numbers)
    return gto.M(
        atom=[
            (int(number), tuple(map(float, place)))
            for number, place in zip(numbers, positions_a, strict=True)
        ],
        basis=BASIS,
        cart=CARTESIAN,
        spin=int(np.sum(numbers)) % 2 if spin is None else spin,
        verbose=0,
    )


def _check_basis(numbers: Any) -> None:
    known = chemistry("pyscf.gto.basis")
    missing = chemistry("pyscf.lib.exceptions").BasisNotFoundError
    for symbol in sorted({chemical_symbols[int(number)] for number in numbers}):
        try:
            known.load(BASIS, symbol)
        except missing:
            raise InputError(f"{BASIS} has no {symbol}", mend="leave that molecule out") from None


def converge(mol: Any, guess: Any = None) -> Converged | None:
    """The field of `mol` by the first rung that converges, or None. `guess`: a density matrix to start at."""
    for rung, climb in RUNGS.items():
        try:
            found = climb(mol, guess)
        except np.linalg.LinAlgError:  # a rung that leads nowhere; another may
            found = None
        if found is not None:
            return Converged(*found, rung)
        guess = None  # it may be what led astray
    return None


def kohn_sham(mol: Any, grid_level: int = GRID_LEVEL) -> Any:
    """An unconverged Kohn–Sham field with the settings of every label."""
    dft = chemistry("pyscf.dft")
    field = (dft.UKS if mol.spin else dft.RKS)(mol, xc=XC).density_fit(auxbasis=AUXILIARY_BASIS)
    field.grids.level = grid_level
    field.conv_tol = CONV_TOL_HARTREE
    field.max_cycle = 60
    field.direct_scf = False
    field.chkfile = None
    return field


def mean_field(mol: Any, grid_level: int = GRID_LEVEL) -> Any:
    """`kohn_sham`, its grid taken in blocks that stay in a CPU core's cache.

    PySCF's own blocks fill hundreds of megabytes, and a gradient takes half as long again with them.
    """
    field = kohn_sham(mol, grid_level)
    whole = field._numint.block_loop
    field._numint.block_loop = lambda *given, **named: whole(*given, **named | {"blksize": _BLOCK_POINTS})
    return field


def _two_grids(mol: Any, guess: Any) -> tuple[Any, Any] | None:
    fine, coarse = mean_field(mol), mean_field(mol, COARSE_GRID_LEVEL)
    fine.with_df = coarse.with_df
    coarse.conv_check = False
    coarse_veff = coarse.get_veff
    core = fine.get_hcore()
    correction: Any = 0.0

    def corrected_veff(mol: Any, dm: Any, *_: Any, **__: Any) -> Any:
        """The potential of the coarse grid's energy plus a term linear in the density."""
        veff = coarse_veff(mol, dm)
        energy = veff.exc + np.sum(np.asarray(correction) * np.asarray(dm))
        return chemistry("pyscf.lib").tag_array(np.asarray(veff) + correction, ecoul=veff.ecoul, exc=energy)

    coarse.get_veff = corrected_veff
    for attempt in range(_MAX_CORRECTIONS):
        # What comes before the first correction is only a better guess.
        coarse.conv_tol_grad = _GRADIENT_TOL * (30 if attempt == 0 else 0.3)
        coarse.conv_tol = CONV_TOL_HARTREE * (1000 if attempt == 0 else 1)
        coarse.kernel(guess)
        if not coarse.converged:
            return None
        guess = coarse.make_rdm1()
        veff = fine.get_veff(mol, guess)
        fock = core + veff
        if np.linalg.norm(fine.get_grad(coarse.mo_coeff, coarse.mo_occ, fock)) < _GRADIENT_TOL:
            return _adopt(fine, coarse, fock, fine.energy_tot(guess, core, veff)), fock
        correction = np.asarray(veff) - np.asarray(coarse_veff(mol, guess))
    return None


def _adopt(fine: Any, coarse: Any, fock: Any, energy: float) -> Any:
    """`fine`, converged with the orbitals of `coarse`."""
    fine.mo_coeff, fine.mo_occ = coarse.mo_coeff, coarse.mo_occ
    fine.converged, fine.e_tot = True, float(energy)
    fine.mo_energy = np.einsum("...pi,...pq,...qi->...i", coarse.mo_coeff, np.asarray(fock), coarse.mo_coeff)
    return fine


def _level_shift(mol: Any, _: Any) -> tuple[Any, Any] | None:
    """Virtual orbitals held 0.3 Hartree higher until the occupied ones settle, then let go."""
    field = mean_field(mol)
    field.level_shift, field.damp, field.max_cycle = 0.3, 0.2, 200
    field.kernel()
    field.level_shift, field.damp = 0.0, 0.0
    return _plain(field, field.make_rdm1())


def _second_order(mol: Any, _: Any) -> tuple[Any, Any] | None:
    field = mean_field(mol)
    field.max_cycle = 10
    field.kernel()
    newton = field.newton()
    newton.kernel(field.mo_coeff, field.mo_occ)
    return _plain(field, newton.make_rdm1()) if newton.converged else None


def _plain(field: Any, guess: Any) -> tuple[Any, Any] | None:
    field.kernel(guess)
    return (field, field.get_fock(dm=field.make_rdm1())) if field.converged else None


RUNGS: dict[str, Callable[[Any, Any], tuple[Any, Any] | None]] = {
    "default": _two_grids,
    "level_shift": _level_shift,
    "second_order": _second_order,
}
