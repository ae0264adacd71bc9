"""What labels cost before they are made."""

from __future__ import annotations

from collections.abc import Sequence

# Seconds of a label on one core of the machine of docs/benchmarks.md: what is fixed, what grows with the grid
# (atoms × basis functions) and what grows with the integrals (basis functions³), fitted to 24 molecules.
_FIXED_S, _GRID_S, _INTEGRALS_S = 0.26, 5.4e-3, 8.0e-6
_FUNCTIONS = {1: 2, 6: 15, 7: 15, 8: 15, 16: 19}  # of 6-31G(d) with Cartesian d


def basis_functions(numbers: Sequence[int]) -> int:
    """How many basis functions a molecule has; elements beyond sulfur are taken for sulfur."""
    return sum(_FUNCTIONS.get(number, 19) for number in numbers)


def label_seconds(numbers: Sequence[int]) -> float:
    """CPU-seconds of one label with one thread."""
    functions = basis_functions(numbers)
    return _FIXED_S + _GRID_S * len(numbers) * functions + _INTEGRALS_S * functions**3
