"""Labels on a GPU, where gpu4pyscf is installed and finds one: same functional, basis, grid and tolerance."""

from __future__ import annotations

import functools
import importlib.util
from typing import Any

import numpy as np

from mlipilot_labels.method import chemistry
from mlipilot_labels.scf import kohn_sham


@functools.cache
def available() -> bool:
    """Whether gpu4pyscf is installed and sees a device."""
    if importlib.util.find_spec("gpu4pyscf") is None:
        return False
    runtime = chemistry("cupy").cuda.runtime
    try:
        return int(runtime.getDeviceCount()) > 0
    except runtime.CUDARuntimeError:
        return False


def energy_and_slope(mol: Any) -> tuple[float, np.ndarray] | None:
    """Energy (Hartree) and gradient (Hartree/Bohr).

    None without a GPU, or if it does not converge there or has too little memory: the CPU may do it.
    """
    if not available():
        return None
    try:
        return _on_gpu(mol)
    except np.linalg.LinAlgError:
        return None
    except MemoryError:  # CuPy's is one
        chemistry("cupy").get_default_memory_pool().free_all_blocks()
        return None


def versions() -> dict[str, str]:
    """Of what makes labels on a GPU."""
    return {f"{name}_version": str(chemistry(name).__version__) for name in ("gpu4pyscf", "cupy")}


def _on_gpu(mol: Any) -> tuple[float, np.ndarray] | None:
    field = kohn_sham(mol).to_gpu()
    field.kernel()
    if not field.converged:
        return None
    slope = field.nuc_grad_method().kernel()
    return float(field.e_tot), np.asarray(slope.get() if hasattr(slope, "get") else slope)
