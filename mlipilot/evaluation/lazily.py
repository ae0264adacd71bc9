"""What a metric's file may name at its top at no cost: NumPy imported at its first use, and types.

So a declaration is read in milliseconds, and starts no threads of its own.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__all__ = ["Array", "Atoms", "Bench", "np"]

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms
    from numpy.typing import NDArray

    from mlipilot.evaluation.bench import Bench

    Array = NDArray[np.float64]
else:

    class _AtFirstUse:
        def __getattr__(self, name: str) -> Any:
            return getattr(import_module("numpy"), name)

    np, Array, Atoms, Bench = _AtFirstUse(), Any, Any, Any
