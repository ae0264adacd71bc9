"""Resolve an image's environment and print its lock file: exact versions, each with the SHA-256 of its file.

Run by `build.sh lock`, with the Python that the image's base has. pip resolves without installing anything,
so only what an index gives no metadata for is downloaded.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

# `===` matches this very string: where pip also finds a build with a local suffix, it must not take that one.
TORCH = {"cpu": "torch==2.13.0+cpu", "cuda": "torch===2.13.0"}
HEADER = (
    "# Made by `containers/build.sh lock {variant}` from pyproject.toml, for Python 3.11 on Linux x86-64; "
    "not edited by hand.\n"
    "# sdist: source only; `build.sh wheelhouse` builds the wheel, and its SHA256SUMS says which one that "
    "was.\n"
)


def requirements(project: Path, variant: str) -> list[str]:
    """What toolkit, search pilots and llama.cpp need at run time, and what builds it without an index."""
    table = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    extras = table["project"]["optional-dependencies"]
    needed = [*table["project"]["dependencies"], *extras["hpo"], *extras["local-llm"]]
    return [*needed, *table["build-system"]["requires"], "pip", TORCH[variant]]


def resolve(wanted: list[str]) -> list[dict[str, Any]]:
    """What pip would install into an empty environment."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch, "report.json")
        command = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        command += ["--dry-run", "--ignore-installed", "--report", str(report), *wanted]
        if subprocess.run(command, check=False).returncode:
            sys.exit(
                "lock.py: pip found no solution (its words are above). Does its index or PIP_FIND_LINKS "
                f"offer {wanted[-1]}?"
            )
        installs: list[dict[str, Any]] = json.loads(report.read_text(encoding="utf-8"))["install"]
    return installs


def entry(item: dict[str, Any]) -> str:
    """The lines of one package."""
    name = re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower()
    version = item["metadata"]["version"]
    relation = "===" if f"{name}==={version}" in TORCH.values() else "=="
    digest = item["download_info"]["archive_info"]["hashes"]["sha256"]
    mark = "" if item["download_info"]["url"].endswith(".whl") else "  # sdist"
    return f"{name}{relation}{version} \\\n    --hash=sha256:{digest}{mark}\n"


def main(variant: str) -> None:
    """Print the lock file of one variant."""
    entries = sorted(map(entry, resolve(requirements(Path(__file__).resolve().parents[1], variant))))
    sys.stdout.write(HEADER.format(variant=variant) + "".join(entries))


if __name__ == "__main__":
    main(sys.argv[1])
