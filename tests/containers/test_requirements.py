"""The lock files: they hold what pyproject.toml asks for, fit together, and nothing is missing from them."""

from __future__ import annotations

import functools
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.containers.image import CONTAINERS, REPOSITORY

VARIANTS = ("cpu", "cuda", "dev", "build")
EXTRAS = {"cpu": ("hpo", "local-llm"), "cuda": ("hpo", "local-llm"), "dev": ("dev",)}
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
ENTRY = re.compile(r"([a-z0-9-]+)={2,3}(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)(  # sdist)?\n")


@functools.cache
def _text(variant: str) -> str:
    return (CONTAINERS / f"requirements-{variant}.lock").read_text(encoding="utf-8")


def _entries(variant: str) -> dict[str, re.Match[str]]:
    """The entry of each package; fails on any line that is neither a comment nor a pinned, hashed package."""
    body = re.sub(r"^#.*\n", "", _text(variant), flags=re.MULTILINE)
    assert ENTRY.sub("", body) == "", "lines that no package explains"
    found = {entry[1]: entry for entry in ENTRY.finditer(body)}
    assert len(found) == len(ENTRY.findall(body)), "a package twice"
    return found


def _locked(*variants: str) -> dict[str, str]:
    """Version by package."""
    return {name: entry[2] for variant in variants for name, entry in _entries(variant).items()}


def _pythons(variant: str) -> list[str]:
    said = re.search(r" for Python (.+) on Linux x86-64;", _text(variant).splitlines()[0])
    assert said is not None
    return said[1].split(", ")


def _asked(extras: tuple[str, ...]) -> Iterator[Requirement]:
    """What the toolkit asks for with these extras, and with those that they name."""
    optional = PROJECT["project"]["optional-dependencies"]
    for text in (
        *PROJECT["project"]["dependencies"],
        *(text for extra in extras for text in optional[extra]),
    ):
        wanted = Requirement(text)
        if wanted.name == PROJECT["project"]["name"]:
            yield from _asked(tuple(wanted.extras))
        else:
            yield wanted


def _missing(wanted: Requirement, locked: dict[str, str], python: str) -> str:
    """What is wrong with a requirement under that Python; nothing, if it is locked and fits."""
    here = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    if wanted.marker is not None and not wanted.marker.evaluate(here):
        return ""
    version = locked.get(canonicalize_name(wanted.name))
    if version is None or not wanted.specifier.contains(version, prereleases=True):
        return f"{wanted} on Python {python}: the lock has {version}; run containers/build.sh lock"
    return ""


@pytest.mark.parametrize("variants", [("cpu",), ("cuda",), ("cpu", "dev"), ("cuda", "dev")], ids="+".join)
def test_the_lock_files_satisfy_pyproject(variants: tuple[str, ...]) -> None:
    locked, asked = _locked(*variants), list(_asked(EXTRAS[variants[-1]]))
    assert len(asked) > 20
    assert [said for each in asked for said in [_missing(each, locked, "3.11")] if said] == []


def test_what_builds_is_pinned_once() -> None:
    builds = _locked("build")
    required = [Requirement(text) for text in PROJECT["build-system"]["requires"]]
    assert required and [str(each.specifier) for each in required] == [
        f"=={builds[e.name]}" for e in required
    ]
    # An image's pip and backend come from its own lock file.
    for variant in ("cpu", "cuda"):
        same = _locked(variant)
        assert {"pip", *(each.name for each in required)} <= same.keys()
        assert {name: version for name, version in builds.items() if same.get(name, version) != version} == {}
    assert not any(entry[4] for entry in _entries("build").values()), "who would build what builds?"


def test_the_variants_differ_in_torch_only() -> None:
    cpu, cuda = _locked("cpu"), _locked("cuda")
    assert (cpu["torch"], cuda["torch"]) == ("2.13.0+cpu", "2.13.0")
    differing = {name for name in cpu | cuda if cpu.get(name) != cuda.get(name)} - {"torch"}
    assert differing and all(re.match(r"(nvidia|cuda)-|triton$", name) for name in differing), differing


def test_no_two_files_that_are_installed_together_name_one_package() -> None:
    assert _locked("dev").keys() & (_locked("cpu").keys() | _locked("cuda").keys()) == set()


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_lock_says_how_it_was_made_and_not_from_where(variant: str) -> None:
    assert "containers/build.sh lock" in _text(variant).splitlines()[0]
    assert "://" not in _text(variant)


@pytest.mark.parametrize(("variant", "built"), [("cpu", "numpy"), ("cuda", "torch"), ("dev", "mypy")])
def test_there_is_a_file_for_each_python_that_is_promised(variant: str, built: str) -> None:
    pythons = _pythons(variant)
    assert pythons == (["3.11"] if variant == "cpu" else ["3.11", "3.12", "3.13"])
    digests = re.findall("sha256:(.*)", _entries(variant)[built][3])
    assert len(set(digests)) == len(pythons)


@pytest.fixture
def environment() -> dict[str, metadata.Distribution]:
    """What is installed here, if it is what the lock files name."""
    found = {str(canonicalize_name(each.name)): each for each in metadata.distributions()}
    variant = "cpu" if "+cpu" in found["torch"].version else "cuda"
    others = [
        f"{name} {found[name].version if name in found else '-'} for {version}"
        for name, version in _locked(variant, "dev", "build").items()
        if name not in found or found[name].version != version
    ]
    # ci/environment.sh leaves this where it has installed.
    assert not (others and Path(sys.prefix, ".mlipilot-dev").exists()), f"ci/test.sh mends {others}"
    if others:
        pytest.skip(f"this environment is not that of the lock files: {others}")
    return found


@pytest.mark.parametrize("python", _pythons("dev"))
def test_nothing_that_a_package_needs_is_missing(
    python: str, environment: dict[str, metadata.Distribution]
) -> None:
    """Asked of the packages themselves: pip is told to look for no dependencies."""
    locked = _locked("cpu" if "+cpu" in environment["torch"].version else "cuda", "dev", "build")
    wanted = [Requirement(text) for name in locked for text in environment[name].requires or ()]
    assert len(wanted) > 100
    assert [said for each in wanted for said in [_missing(each, locked, python)] if said] == []
