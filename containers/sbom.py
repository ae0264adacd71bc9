"""Print an image's bill of materials, CycloneDX 1.6 in JSON, from what the image was made of.

    python sbom.py WHEELHOUSE VARIANT VERSION ROOT

Run by `mlipilot.def` within the image, by its own Python, while the wheelhouse is bound there; ROOT is the
image's root. It holds no time and no random number: the same image has the same bill.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote


def wheels(wheelhouse: Path) -> Iterator[dict[str, Any]]:
    """The Python packages, each with the SHA-256 of the wheel that was installed."""
    for line in (wheelhouse / "SHA256SUMS").read_text(encoding="utf-8").splitlines():
        digest, _, file = line.partition("  ")
        if not file.endswith(".whl"):
            continue
        name, version = file.split("-")[:2]
        name = re.sub(r"[-_.]+", "-", name).lower()
        yield _component(name, version, f"pkg:pypi/{name}@{quote(version)}") | {
            "hashes": [{"alg": "SHA-256", "content": digest}]
        }


def debian_packages(root: Path) -> Iterator[dict[str, Any]]:
    """What dpkg has installed in the base; nothing where the base is of another kind."""
    release = root / "etc" / "os-release"
    status = root / "var" / "lib" / "dpkg" / "status"
    if not (release.is_file() and status.is_file()):
        return
    system = _fields(release.read_text(encoding="utf-8"), "=")
    distribution = f"{system.get('ID', 'debian')}-{system.get('VERSION_ID', '')}".rstrip("-")
    for paragraph in status.read_text(encoding="utf-8").split("\n\n"):
        of = _fields(paragraph, ": ")
        if of.get("Status", "").endswith(" installed"):
            name, version, architecture = of["Package"], of["Version"], of["Architecture"]
            purl = f"pkg:deb/{system.get('ID', 'debian')}/{quote(name)}@{quote(version)}"
            yield _component(name, version, f"{purl}?arch={architecture}&distro={distribution}")


def _fields(text: str, separator: str) -> dict[str, str]:
    pairs = (line.partition(separator) for line in text.splitlines() if line[:1].strip())
    return {key: value.strip('"') for key, _, value in pairs}


def _component(name: str, version: str, purl: str) -> dict[str, Any]:
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def bill(wheelhouse: Path, variant: str, version: str, root: Path) -> dict[str, Any]:
    """The whole of it."""
    lock = hashlib.sha256((wheelhouse / "requirements.lock").read_bytes()).hexdigest()
    name = f"mlipilot-{variant}"
    image = {"type": "container", "bom-ref": name, "name": name, "version": version}
    found = [*wheels(wheelhouse), *debian_packages(root)]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": image,
            "properties": [{"name": "mlipilot:lock-digest", "value": f"sha256:{lock}"}],
        },
        "components": sorted(found, key=lambda component: str(component["purl"])),
    }


if __name__ == "__main__":
    wheelhouse, variant, version, root = sys.argv[1:]
    json.dump(bill(Path(wheelhouse), variant, version, Path(root)), sys.stdout, indent=1)
