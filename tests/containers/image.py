"""The CPU image that tests run: given by MLIPILOT_TEST_IMAGE, or built once and kept.

It is kept in `mlipilot-images` in the temporary folder, with the images.lock that `build.sh` wrote beside it.
`build.sh` compares the digests in there, of wheelhouse and sources, and builds again when one has changed.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from ruamel.yaml import YAML

REPOSITORY = Path(__file__).resolve().parents[2]
CONTAINERS = REPOSITORY / "containers"
KEPT = Path(tempfile.gettempdir()) / "mlipilot-images"
LOCK = CONTAINERS / "requirements-cpu.lock"
NAME = "mlipilot-cpu"
IMAGE = f"{NAME}.sif"


def build_sh(*arguments: str | Path, offline: bool = False) -> subprocess.CompletedProcess[str]:
    """Run containers/build.sh; `offline` without any network where this user may take it away."""
    command = ["bash", str(CONTAINERS / "build.sh"), *map(str, arguments)]
    return subprocess.run(
        [*(_without_network() if offline else ()), *command],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | ({"PIP_NO_INDEX": "1"} if offline else {}),
    )


def sha256_of(path: Path) -> str:
    """As sha256sum has it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def entries(folder: Path) -> dict[str, dict[str, Any]]:
    """What images.lock in there says, by image."""
    loaded: dict[str, dict[str, Any]] = YAML(typ="safe").load((folder / "images.lock").read_text())
    return loaded


def need_apptainer() -> None:
    """Skip where there is no Apptainer."""
    if shutil.which("apptainer") is None:
        pytest.skip("apptainer is not on the PATH")


@functools.cache
def wheelhouse() -> Path:
    """A wheelhouse of today's lock file: beside an image, in `containers`, or fetched now and kept."""
    given = Path(os.environ.get("MLIPILOT_TEST_IMAGE", KEPT / IMAGE))
    for found in (given.with_name("wheelhouse-cpu"), CONTAINERS / "wheelhouse-cpu", KEPT / "wheelhouse-cpu"):
        copy = found / "requirements.lock"
        if copy.is_file() and copy.read_bytes() == LOCK.read_bytes():
            return found
    if shutil.which("mmdebstrap") is None:
        pytest.skip("no wheelhouse of today's lock file, and no mmdebstrap to make one's base with")
    made = build_sh("wheelhouse", "cpu", "--wheelhouse", found)
    assert made.returncode == 0, made.stderr
    return found


@functools.cache
def built_image() -> Path:
    """The image, up to date; skips where it cannot be built here."""
    given = os.environ.get("MLIPILOT_TEST_IMAGE")
    if given:
        assert Path(given).is_file(), f"MLIPILOT_TEST_IMAGE={given}: no such file"
        return Path(given)
    need_apptainer()
    KEPT.mkdir(exist_ok=True)
    with FileLock(KEPT / "tests.lock"):  # one worker builds, the others wait
        made = build_sh(
            "image", "cpu", "--offline", "--wheelhouse", wheelhouse(), "--output", KEPT, offline=True
        )
    assert made.returncode == 0, made.stderr
    return KEPT / IMAGE


def _without_network() -> list[str]:
    """A command prefix that takes the network away; empty for users who may not do that."""
    prefix = ["unshare", "--net"]
    may = (
        os.geteuid() == 0
        and subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0
    )
    return prefix if may else []
