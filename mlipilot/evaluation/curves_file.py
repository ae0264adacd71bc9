"""The arrays that the evaluator leaves beside `metrics.json`, for figures and for committees."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

from mlipilot.evaluation.lazily import Array, np

_MAX_BYTES = 256 * 1024 * 1024


def read_curves(path: Path) -> Mapping[str, Array]:
    """The arrays of a `curves.npz` by name.

    Raises OSError where there is none, ValueError where it is torn, too large, or not of numbers.
    """
    if (size := path.stat().st_size) > _MAX_BYTES:
        raise ValueError(f"{path} has {size} bytes")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: np.asarray(arrays[name], dtype=float) for name in arrays.files}
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path}: {error}") from None
