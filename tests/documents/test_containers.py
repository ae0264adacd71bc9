"""The commands of containers/README.md, typed as they stand there by an ordinary user.

The image is a copy of the one that `image.py` built from nothing by the README's commands.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.documents.blocks import block
from tests.documents.conftest import clone
from tests.documents.user import Shell, User
from tests.end_to_end.cluster import IMAGE, needs_image

pytestmark = [pytest.mark.slow, needs_image, pytest.mark.xdist_group("documents of containers")]
OPENSSL = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed: no keys")


@pytest.fixture(scope="module")
def checkout(user: User, desk: Path) -> Path:
    """A clone with wheelhouse and image in it."""
    assert IMAGE is not None
    with Shell(user, desk) as shell:
        clone(shell, desk, "containers")
        for name in ("wheelhouse-cpu", "mlipilot-cpu.sif", "images.lock"):
            shell.type(f"cp -r {IMAGE.with_name(name)} containers")
    return desk / "containers"


def test_where_there_is_a_package_index(user: User, checkout: Path) -> None:
    commands = block("containers/README.md", "containers/build.sh image cpu")
    with Shell(user, checkout) as shell:
        assert "mlipilot-cpu.sif" in shell.type(commands.take("containers/build.sh image cpu"))
        assert "Usage" in shell.type(commands.take("apptainer run containers/mlipilot-cpu.sif --help"))
    commands.end()


def test_where_there_is_none(user: User, checkout: Path) -> None:
    """The first command has been typed on the way to the image; the others move its outcome."""
    commands = block("containers/README.md", "containers/build.sh wheelhouse cpu")
    commands.take("containers/build.sh wheelhouse cpu")
    with Shell(user, checkout) as shell:
        shell.type(commands.take("tar -cf wheelhouse-cpu.tar -C containers wheelhouse-cpu"))
        shell.type("rm -r containers/wheelhouse-cpu")
        shell.type(commands.take("tar -xf wheelhouse-cpu.tar -C containers"))
        shell.type("rm wheelhouse-cpu.tar")
        assert "up to date" in shell.type(commands.take("containers/build.sh image cpu --offline"))
    commands.end()


@OPENSSL
def test_a_signature(user: User, checkout: Path) -> None:
    commands = block("containers/README.md", "openssl genpkey")
    with Shell(user, checkout) as shell:
        shell.type(commands.take("openssl genpkey"))
        shell.type(commands.take("containers/build.sh sign site.pem cpu"))
        said = shell.type(commands.take("containers/build.sh verify site-public.pem cpu"))
        assert "is signed by the owner of site-public.pem" in said
    commands.end()
