"""Build the image as the README says it for a cluster, in a fresh clone in FOLDER; its path is the last line.

    python3 -m tests.documents.image USER FOLDER      (an empty folder of that user)

The tests of a real image take this one. Standard library only: it runs beside the installation.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from tests.documents.blocks import block
from tests.documents.user import Shell, User, type_the_clone


def build(user: User, desk: Path) -> Path:
    """The SIF, in a clone in `desk`, an empty folder of the user's."""
    user.upstream(desk)
    commands = block("README.md", "git clone")
    with Shell(user, desk) as shell:
        type_the_clone(shell, commands.take("git clone"), desk, "mlipilot")
        print(shell.type(commands.take("containers/build.sh wheelhouse cpu"), seconds=1500))
        print(shell.type(commands.take("containers/build.sh image cpu --offline"), seconds=1500))
    return desk / "mlipilot" / "containers" / "mlipilot-cpu.sif"


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the user's shell is ended, too
    print(build(User(sys.argv[1]), Path(sys.argv[2])))
