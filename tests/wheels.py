"""Small wheels, for a real pip to install."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path


def write_wheel(folder: Path, name: str, version: str = "1.0", *requires: str) -> Path:
    """A wheel of one empty module, in `folder`; the same arguments give the same bytes."""
    info = f"{name}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"]
    metadata += [f"Requires-Dist: {each}\n" for each in requires]
    files = {f"{name}.py": "", f"{info}/METADATA": "".join(metadata)}
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    hashed = {name: hashlib.sha256(text.encode()).digest() for name, text in files.items()}
    lines = [f"{n},sha256={base64.urlsafe_b64encode(d).decode().rstrip('=')}," for n, d in hashed.items()]
    files[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,", ""])
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(zipfile.ZipInfo(file), text)
    return path


def lock_entry(wheel: Path, relation: str = "==") -> str:
    """The lines of a lock file that name this wheel and no other bytes."""
    name, version, _ = wheel.name.split("-", 2)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"{name.replace('_', '-')}{relation}{version} \\\n    --hash=sha256:{digest}\n"
