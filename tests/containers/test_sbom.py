"""The bill of materials of an image: CycloneDX, of the wheels and of the base's packages."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.containers.image import CONTAINERS

STATUS = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u10
Description: shared libraries
 Version: of nothing

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: dash
Status: install ok installed
Architecture: amd64
Version: 1:0.5
"""


def check_bill(bill: dict[str, Any]) -> None:
    """What CycloneDX 1.6 asks of the keys that are used here, and what makes it the same each time."""
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    assert bill.keys() == {"$schema", "bomFormat", "specVersion", "version", "metadata", "components"}
    assert bill["metadata"].keys() == {"component", "properties"}, (
        "no time: it would differ from build to build"
    )
    assert bill["metadata"]["component"]["type"] == "container"
    for component in bill["components"]:
        assert component.keys() - {"hashes"} == {"type", "bom-ref", "name", "version", "purl"}
        assert component["type"] == "library" and component["bom-ref"] == component["purl"]
        assert re.fullmatch(
            r"pkg:(pypi/[a-z0-9-]+@[\w.%]+|deb/\w+/[a-z0-9.%B-]+@[\w.%~-]+\?arch=\w+&distro=[\w.-]+)",
            component["purl"],
        ), component
        for found in component.get("hashes", []):
            assert found["alg"] == "SHA-256" and re.fullmatch("[0-9a-f]{64}", found["content"])
        assert ("hashes" in component) == component["purl"].startswith("pkg:pypi/")
    references = [component["bom-ref"] for component in bill["components"]]
    assert references == sorted(set(references))


def test_a_bill_names_wheels_with_their_digests_and_packages_of_the_base(tmp_path: Path) -> None:
    wheels, root = tmp_path / "wheelhouse", tmp_path / "root"
    for folder in (wheels, root / "etc", root / "var" / "lib" / "dpkg"):
        folder.mkdir(parents=True)
    (wheels / "requirements.lock").write_text("a lock\n")
    files = (
        "base.tar.gz",
        "torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl",
        "Ruamel_Yaml-0.19-py3-none-any.whl",
    )
    (wheels / "SHA256SUMS").write_text("".join(f"{n:064x}  {file}\n" for n, file in enumerate(files)))
    (root / "etc" / "os-release").write_text('NAME="Debian"\nID=debian\nVERSION_ID="12"\n')
    (root / "var" / "lib" / "dpkg" / "status").write_text(STATUS)
    words = [sys.executable, str(CONTAINERS / "sbom.py"), str(wheels), "cpu", "0.1.0"]
    said = [subprocess.run([*words, str(root)], capture_output=True, check=True).stdout for _ in range(2)]
    assert said[0] == said[1]
    bill = json.loads(said[0])
    check_bill(bill)
    assert {c["purl"]: c.get("hashes", [{"content": ""}])[0]["content"] for c in bill["components"]} == {
        "pkg:deb/debian/dash@1%3A0.5?arch=amd64&distro=debian-12": "",
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=debian-12": "",
        "pkg:pypi/ruamel-yaml@0.19": f"{2:064x}",
        "pkg:pypi/torch@2.13.0%2Bcpu": f"{1:064x}",
    }
    (root / "var" / "lib" / "dpkg" / "status").unlink()  # a base of another kind
    other = json.loads(subprocess.run([*words, str(root)], capture_output=True, check=True).stdout)
    assert len(other["components"]) == 2
