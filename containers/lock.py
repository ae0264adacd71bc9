"""Resolve an environment and print its lock file: exact versions, each with the SHA-256 of its files.

    python lock.py VARIANT      a key of EXTRAS; the others begin with what `cpu` has settled

Run by `build.sh lock`, with the Python that the image's base has and the pip of the last lock file. pip
resolves without installing anything, so only what an index gives no metadata for is downloaded.
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

HERE = Path(__file__).resolve().parent
# The toolkit's extras in each file. The images and the quickstart have what search pilots and llama.cpp need.
EXTRAS = {"cpu": ["hpo", "local-llm"], "cuda": ["hpo", "local-llm"], "dev": ["qm", "dev"], "build": []}
# `===` matches this very string: where pip also finds a build with a local suffix, it must not take that one.
TORCH = {"cpu": "torch==2.13.0+cpu", "cuda": "torch===2.13.0"}
# What builds those that come as source only, besides pyproject's own backend (matcalc's version).
BUILDERS = ["setuptools-scm"]
# Resolved for the first; the files of the same versions are looked up for the others.
PYTHONS = ("3.11", "3.12", "3.13")
HEADER = (
    "# Made by `containers/build.sh lock` from pyproject.toml, for Python {pythons} on Linux x86-64; "
    "not edited by hand.\n"
)
SDIST = (
    "# sdist: source only, built by what requirements-build.lock names; "
    "an image's SHA256SUMS says which wheel that was.\n"
)


def requirements(variant: str) -> list[str]:
    """What the variant is to hold, before anything is resolved."""
    table = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    building = [*table["build-system"]["requires"], "pip"]
    if variant == "build":
        return [*building, *BUILDERS]
    extras = table["project"]["optional-dependencies"]
    optional = [text for extra in EXTRAS[variant] for text in extras[extra]]
    own = f"{table['project']['name']}["  # an extra that names others: they are in EXTRAS
    needed = [*table["project"]["dependencies"], *(text for text in optional if not text.startswith(own))]
    return [*needed, *building, TORCH["cuda" if variant == "cuda" else "cpu"]]


def resolve(wanted: list[str], *options: str | Path) -> list[dict[str, Any]] | None:
    """What pip would install into an empty environment; None where it finds no solution, and says why."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch, "report.json")
        command = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--dry-run"]
        command += ["--ignore-installed", "--report", str(report), *map(str, options), *wanted]
        if subprocess.run(command, check=False).returncode:
            return None
        installs: list[dict[str, Any]] = json.loads(report.read_text(encoding="utf-8"))["install"]
    return installs


def resolve_others(pins: list[str], python: str) -> list[dict[str, Any]] | None:
    """The wheels of these versions for another Python than the one that runs."""
    with tempfile.TemporaryDirectory() as target:
        told = ["--no-deps", "--only-binary=:all:", "--python-version", python, "--target", target]
        return resolve(pins, *told)


def pin(item: dict[str, Any]) -> str:
    """The package at its version, as a lock file has it."""
    name = re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower()
    version = item["metadata"]["version"]
    return f"{name}{'===' if f'{name}==={version}' in TORCH.values() else '=='}{version}"


def pins_of(lock: Path) -> list[str]:
    """The packages of a lock file, each at its version."""
    return re.findall(r"^([a-z0-9-]+={2,3}\S+) ", lock.read_text(encoding="utf-8"), re.MULTILINE)


def digest(item: dict[str, Any]) -> str:
    """The SHA-256 of the file."""
    hashes: dict[str, str] = item["download_info"]["archive_info"]["hashes"]
    return hashes["sha256"]


def is_wheel(item: dict[str, Any]) -> bool:
    """Whether there is something built to be had."""
    return bool(item["download_info"]["url"].endswith(".whl"))


def lock(variant: str) -> str:
    """The lock file's text; leaves with pip's words where there is no solution."""
    settled = pins_of(HERE / "requirements-cpu.lock") if variant != "cpu" else []
    if variant == "cuda":
        settled = [each for each in settled if each != TORCH["cpu"]]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.write("\n".join(settled))
        constraints.flush()
        found = resolve(requirements(variant), "--constraint", constraints.name)
    if found is None:
        sys.exit(
            "lock.py: pip found no solution (its words are above). Does its index or PIP_FIND_LINKS offer "
            f"{', '.join(TORCH.values())}?"
        )
    if variant == "dev":
        found = [item for item in found if pin(item) not in settled]
    files = {pin(item): {digest(item): None} for item in found}
    pythons = [PYTHONS[0]]
    for python in PYTHONS[1:]:
        others = resolve_others([pin(item) for item in found if is_wheel(item)], python)
        if others is None:
            sys.stderr.write(f"lock.py: so requirements-{variant}.lock is not for Python {python}\n")
            continue
        pythons.append(python)
        for item in others:
            files[pin(item)][digest(item)] = None
    sources = {pin(item) for item in found if not is_wheel(item)}
    text = HEADER.format(pythons=", ".join(pythons)) + (SDIST if sources else "")
    for each, digests in sorted(files.items()):
        hashes = " \\\n".join(f"    --hash=sha256:{value}" for value in digests)
        text += f"{each} \\\n{hashes}{'  # sdist' if each in sources else ''}\n"
    return text


if __name__ == "__main__":
    sys.stdout.write(lock(sys.argv[1]))
