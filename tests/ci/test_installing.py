"""ci/environment.sh installs what the lock files name, byte for byte, or stops: a real pip, a few wheels."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.conftest import StandIn
from tests.wheels import lock_entry, write_wheel

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("locks")]  # dozens of real pips, one environment
REPOSITORY = Path(__file__).parents[2]
HEADER = "# Made by nobody, for Python {} on Linux x86-64; a stand-in.\n"
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "lock-probe"
version = "1.0"
"""
BACKEND = """
import shutil

def build_editable(folder, *_):
    return shutil.copy("lock_probe-1.0-py3-none-any.whl", folder).rpartition("/")[2]
"""


class Checkout:
    """A toolkit of one empty module, whose lock files name a wheel each and torch."""

    def __init__(self, root: Path) -> None:
        self.root, self.wheels, self.venv = root, root / "wheels", root / "venv"
        for folder in (self.wheels, root / "ci", root / "containers"):
            folder.mkdir()
        shutil.copy(REPOSITORY / "ci" / "environment.sh", root / "ci")
        shutil.copy(REPOSITORY / "containers" / "pinned.sh", root / "containers")
        (root / "pyproject.toml").write_text(PYPROJECT)
        (root / "backend.py").write_text(BACKEND)
        write_wheel(root, "lock_probe")
        torch = {"cpu": lock_entry(write_wheel(self.wheels, "torch", "2.13.0+cpu"))}
        torch["cuda"] = lock_entry(write_wheel(self.wheels, "torch", "2.13.0"), "===")
        for variant in ("build", "cpu", "cuda", "dev"):
            probe = write_wheel(self.wheels, f"lock_probe_{variant}")
            self.lock(variant).write_text(
                HEADER.format(HERE) + lock_entry(probe) + torch.get(variant, ""), encoding="utf-8"
            )

    def lock(self, variant: str) -> Path:
        return self.root / "containers" / f"requirements-{variant}.lock"

    def install(self, extra: str = "dev", **environment: str) -> subprocess.CompletedProcess[str]:
        told = {"HOME": str(self.root), "PATH": os.environ["PATH"], "MLIPILOT_VENV": str(self.venv)}
        told |= {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels)}
        return subprocess.run(
            ["bash", "-c", f"source ci/environment.sh; install {extra}"],
            cwd=self.root,
            env=told | environment,
            capture_output=True,
            text=True,
        )

    def installed(self) -> dict[str, str]:
        """Version by package, of those that are spoken of here."""
        names = (path.name for path in self.venv.glob("lib/python3*/site-packages/*.dist-info"))
        found = dict(
            re.findall(r"^((?:lock_probe|torch)\w*)-(.+)\.dist-info$", "\n".join(names), re.MULTILINE)
        )
        return dict(sorted(found.items()))

    def has_finished(self) -> bool:
        return bool(list(self.venv.glob(".mlipilot-*")))


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with a real pip, which takes seconds to make."""
    venv.create(made := tmp_path_factory.mktemp("python") / "venv", with_pip=True)
    return made


@pytest.fixture
def checkout(tmp_path: Path, fresh: Path) -> Checkout:
    made = Checkout(tmp_path)
    shutil.copytree(fresh, made.venv, symlinks=True)
    return made


ALL = {"lock_probe": "1.0"} | {f"lock_probe_{name}": "1.0" for name in ("build", "cpu", "dev")}


@pytest.mark.parametrize("extra", ["runtime", "dev"])
def test_it_installs_what_the_lock_files_name_and_again_when_one_has_changed(
    extra: str, checkout: Checkout
) -> None:
    done = checkout.install(extra)
    assert done.returncode == 0, done.stderr
    expected = {name: version for name, version in ALL.items() if extra == "dev" or name != "lock_probe_dev"}
    assert checkout.installed() == expected | {"torch": "2.13.0+cpu"}
    assert checkout.install(extra).stdout == ""
    newer = write_wheel(checkout.wheels, "lock_probe_cpu", "1.1")
    assert checkout.install(extra).stdout == "", "what an index has besides is no reason"
    older = newer.with_name("lock_probe_cpu-1.0-py3-none-any.whl")
    lock = checkout.lock("cpu")
    lock.write_text(lock.read_text().replace(lock_entry(older), lock_entry(newer)))
    assert "installing into" in checkout.install(extra).stdout
    assert checkout.installed()["lock_probe_cpu"] == "1.1"


@pytest.mark.parametrize("variant", ["build", "cpu", "dev"])
def test_a_file_of_another_sha256_stops_it(variant: str, checkout: Checkout) -> None:
    lock = checkout.lock(variant)
    lock.write_text(re.sub("sha256:.{6}", "sha256:000000", lock.read_text(), count=1))
    done = checkout.install()
    assert done.returncode == 1
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in done.stderr
    assert f"containers/requirements-{variant}.lock" in done.stderr
    assert f"lock_probe_{variant}" not in checkout.installed() and not checkout.has_finished()


def test_a_package_without_a_sha256_stops_it(checkout: Checkout) -> None:
    lock = checkout.lock("dev")
    lock.write_text(re.sub(r" \\\n +--hash.*", "", lock.read_text()))
    done = checkout.install()
    assert done.returncode == 1 and "Hashes are required" in done.stderr
    assert "lock_probe_dev" not in checkout.installed() and not checkout.has_finished()


def test_what_a_package_needs_and_no_lock_file_names_is_not_fetched(checkout: Checkout) -> None:
    write_wheel(checkout.wheels, "lock_probe_further")
    needy = write_wheel(checkout.wheels, "lock_probe_cpu", "2.0", "lock_probe_further")
    lock = checkout.lock("cpu")
    lock.write_text(re.sub(r"lock-probe-cpu==1\.0 \\\n.*\n", lambda _: lock_entry(needy), lock.read_text()))
    done = checkout.install()
    assert done.returncode == 1 and "lock-probe-further, which is not installed" in done.stderr
    assert "remove it and begin again" in done.stderr
    assert checkout.installed()["lock_probe_cpu"] == "2.0" and not checkout.has_finished()


@pytest.mark.parametrize("why", ["is offered no torch 2.13.0+cpu", "is locked for Python 3.99 alone"])
def test_the_large_torch_is_taken_where_the_small_one_cannot_be_and_it_is_said(
    why: str, checkout: Checkout
) -> None:
    if "offered" in why:
        (checkout.wheels / "torch-2.13.0+cpu-py3-none-any.whl").unlink()
    else:
        checkout.lock("cpu").write_text(checkout.lock("cpu").read_text().replace(HERE, "3.99", 1))
    done = checkout.install()
    assert done.returncode == 0, done.stderr
    assert why in done.stderr and "some 3 GB" in done.stderr
    found = checkout.installed()
    assert found["torch"] == "2.13.0" and "lock_probe_cuda" in found and "lock_probe_cpu" not in found


@pytest.mark.parametrize("stands", ["as the interpreter", "in the environment"])
def test_a_python_of_no_lock_file_is_told(stands: str, tmp_path: Path, stand_in: StandIn) -> None:
    stand_in("python3.99", "case $* in *version_info*) echo 3.99 ;; *) exit 0 ;; esac")
    python = shutil.which("python3.99")
    assert python is not None
    (tmp_path / "checkout").mkdir()
    checkout = Checkout(tmp_path / "checkout")
    if stands == "in the environment":
        (checkout.venv / "bin").mkdir(parents=True)
        (checkout.venv / "bin" / "python").symlink_to(python)
    done = checkout.install(MLIPILOT_PYTHON=python)
    assert done.returncode == 2
    named = (
        f"MLIPILOT_PYTHON={python}" if stands == "as the interpreter" else f"{checkout.venv} has Python 3.99"
    )
    assert done.stderr.startswith(f"{named}: the lock files are for Python {HERE} on Linux")
    assert "pip install --editable" in done.stderr
    assert not checkout.has_finished() and not list(checkout.venv.glob("lib*"))
