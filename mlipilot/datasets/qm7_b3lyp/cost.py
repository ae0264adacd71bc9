"""What labels cost before they are made."""

from __future__ import annotations

from collections.abc import Sequence

# Seconds of one label on one core of the machine of docs/benchmarks.md; see ci/benchmark_labels.py.
_FIXED_S, _PER_UNIT_S, _POWER = 0.3, 5e-3, 1.5
_FUNCTIONS = {1: 2, 6: 15, 7: 15, 8: 15, 16: 19}  # of 6-31G(d) with Cartesian d


def basis_functions(numbers: Sequence[int]) -> int:
    """How many basis functions a molecule has; elements beyond sulfur are taken for sulfur."""
    return sum(_FUNCTIONS.get(number, 19) for number in numbers)


def label_seconds(numbers: Sequence[int]) -> float:
    """CPU-seconds of one label with one thread."""
    return float(_FIXED_S + _PER_UNIT_S * basis_functions(numbers) ** _POWER)
