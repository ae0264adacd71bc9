"""The level of theory of every label, and the package that computes it.

B3LYP in Gaussian's form (the VWN-RPA correlation; VWN5 would move energies by electronvolts) in 6-31G(d),
whose d shells are Cartesian as in Gaussian. Coulomb and exchange are density-fitted in a quadruple-zeta
auxiliary basis; docs/benchmarks.md has what that changes.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType

from ase.units import Bohr, Hartree

from mlipilot.errors import InputError
from mlipilot.versions import versions

XC = "b3lypg"
BASIS = "6-31g(d)"
CARTESIAN = True
GRID_LEVEL = 3
COARSE_GRID_LEVEL = 0
CONV_TOL_HARTREE = 1e-9
AUXILIARY_BASIS = "cc-pvqz-jkfit"
EV_PER_HARTREE = float(Hartree)
EV_PER_A_PER_HARTREE_PER_BOHR = float(Hartree / Bohr)


_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def one_thread() -> dict[str, str]:
    """The environment of a process that labels: libraries read it when they are loaded.

    Small molecules gain nothing from two threads, and processes side by side use each core in full.
    """
    return os.environ | dict.fromkeys(_THREADS, "1")


def chemistry(module: str) -> ModuleType:
    """A module of the extra `qm`, such as `pyscf.dft`. Raises InputError without it."""
    os.environ.update({name: "1" for name in _THREADS if name not in os.environ})
    package = module.partition(".")[0]
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise InputError(
            f"new geometries and labels need the Python package {package}, which is not installed",
            mend="pip install 'mlipilot[qm]'; the labels that are shipped (source: shipped) need none of it",
        ) from None
    if package == "pyscf":
        importlib.import_module("pyscf.lib").num_threads(1)
    return found


def method_record() -> dict[str, str | int | float | bool]:
    """What each frame says of how it was labelled."""
    return {
        "xc": XC,
        "basis": BASIS,
        "cartesian": CARTESIAN,
        "grid_level": GRID_LEVEL,
        "conv_tol_hartree": CONV_TOL_HARTREE,
        "density_fitting": AUXILIARY_BASIS,
        "dispersion": "none",
        **{f"{name}_version": number for name, number in versions(("pyscf", "numpy", "mlipilot")).items()},
    }
