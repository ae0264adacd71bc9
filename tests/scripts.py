"""The scripts of `ci/` as modules."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

CI = Path(__file__).resolve().parents[1] / "ci"


def script(name: str) -> ModuleType:
    """`ci/NAME.py`, imported."""
    spec = importlib.util.spec_from_file_location(name, CI / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look for the names of their fields
    spec.loader.exec_module(module)
    return module
