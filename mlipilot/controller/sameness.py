"""Whether what is on record is what was computed again; numbers of two machines differ in last digits."""

from __future__ import annotations

import math
import re
from typing import Any

_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[-+]?\d+)?")


def same(recorded: Any, computed: Any) -> bool:
    """Equality up to the last digits of floating-point functions, which differ between machines."""
    if isinstance(recorded, dict) and isinstance(computed, dict):
        return recorded.keys() == computed.keys() and all(
            (_same_words if key == "reason" else same)(recorded[key], computed[key]) for key in recorded
        )
    if isinstance(recorded, list) and isinstance(computed, list):
        return len(recorded) == len(computed) and all(map(same, recorded, computed))
    if isinstance(recorded, float) and isinstance(computed, float):
        return math.isclose(recorded, computed, rel_tol=1e-9, abs_tol=1e-12)
    return bool(recorded == computed)


def _same_words(recorded: object, computed: object) -> bool:
    """The same of a reason, which spells out rounded numbers that stand beside it in full."""
    one, other = str(recorded), str(computed)
    numbers = zip(*(map(float, _NUMBER.findall(each)) for each in (one, other)), strict=False)
    near = all(math.isclose(a, b, rel_tol=1e-3, abs_tol=2e-3) for a, b in numbers)
    return near and _NUMBER.sub("#", one) == _NUMBER.sub("#", other)
