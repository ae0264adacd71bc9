"""A small real image, and a site to ask about."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mlipilot.doctor.site import Site

SiteOf = Callable[..., Site]


@pytest.fixture
def site_of() -> SiteOf:
    """A site by its variables: `site_of(GPU_PARTITION="gpu")`."""
    return lambda **settings: Site.from_environment({f"MLIPILOT_{k}": v for k, v in settings.items()})


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real image of a few megabytes: this machine's shell, bash, cat and stat, and their libraries."""
    if shutil.which("apptainer") is None:
        pytest.skip("there is no apptainer on the PATH: ci/cluster/install.sh installs it on Debian 12")
    root = tmp_path_factory.mktemp("image")
    tree = root / "tree"
    for folder in (
        "bin",
        "dev",
        "etc",
        "home",
        "mnt",
        "opt",
        "proc",
        "root",
        "sys",
        "tmp",
        "usr/bin",
        "var/tmp",
    ):
        (tree / folder).mkdir(parents=True)
    for name in ("bash", "sh", "cat", "stat", "sleep", "true"):
        program = Path(shutil.which(name) or pytest.fail(f"no {name} here")).resolve()
        shutil.copy(program, tree / "bin" / name)
        linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        for library in re.findall(r"(/\S+) \(0x", linked):
            (tree / library[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(Path(library).resolve(), tree / library[1:])
    built = subprocess.run(
        ["apptainer", "build", root / "small.sif", tree], capture_output=True, text=True, check=False
    )
    if built.returncode:
        pytest.skip(f"apptainer builds no image here: {built.stderr.strip()[-200:]}")
    return root / "small.sif"
