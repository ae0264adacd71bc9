"""What a measurement was made of: SHA-256 of the bytes of the data that it read, and of the code that it ran.

On local processes code of a candidate may have changed either under the evaluator, and put it back. So what
counts is what was read, not what lies at its path before or after. The controller holds it to the data of the
run and to the evaluation of the baseline (`controller/comparable.py`).
"""

from __future__ import annotations

import sys
from pathlib import Path

from mlipilot.audit.files import sha256_bytes, sha256_file

_PACKAGES = ("ase", "e3nn", "mace", "matcalc", "mlipilot", "numpy", "phonopy", "scipy", "torch")
_read: dict[Path, list[str]] = {}


def begin() -> None:
    """Forget what was read for an earlier measurement."""
    _read.clear()


def read_noted(path: Path) -> bytes:
    """The bytes of a file, whose digest is noted. Raises OSError."""
    data = path.read_bytes()
    noted, digest = _read.setdefault(path, []), sha256_bytes(data)
    if digest not in noted:
        noted.append(digest)
    return data


def loaded(data_dir: Path) -> dict[str, dict[str, str]]:
    """SHA-256 of the data that were read so far, by their path in `data_dir`, and of the loaded modules.

    Of a file that was another one each time, the digests with blanks between.
    """
    data = {
        path.relative_to(data_dir).as_posix(): " ".join(digests)
        for path, digests in _read.items()
        if path.is_relative_to(data_dir)
    }
    return {"data": data, "modules": {name: sha256_file(path) for name, path in _modules().items()}}


def _modules() -> dict[str, Path]:
    found = {
        name: Path(file)
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in _PACKAGES and (file := getattr(module, "__file__", None)) is not None
    }
    return {name: path for name, path in found.items() if path.is_file()}
