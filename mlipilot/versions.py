"""The versions that a result depends on, beside the image's digest."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from mlipilot import __version__

NAMES = ("python", "mlipilot", "ase", "e3nn", "mace-torch", "matcalc", "numpy", "scipy", "torch")
_OWN = {"python": platform.python_version(), "mlipilot": __version__}


def versions(names: Iterable[str] = NAMES) -> dict[str, str]:
    """The version of each here; "not installed" where there is no such package."""
    return {name: _OWN.get(name) or _version(name) for name in names}


@cache  # what this process computes with does not change any more
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
