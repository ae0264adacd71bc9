"""What a candidate may leave, and an ordinary user who meets it."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
_USER = "mlipilot-user"  # ci/test.sh makes it


def dig(top: Path, depth: int, name: str = "d") -> None:
    """Folders in each other below `top`, which no path can name."""
    folder = os.open(top, os.O_DIRECTORY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=folder)
        below = os.open(name, os.O_DIRECTORY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(os.open("x", os.O_CREAT, dir_fd=folder))
    os.close(folder)


def as_a_user(code: str, place: Path) -> str:
    """What Python prints that runs as an ordinary user in `place`, which is that user's from then on.

    Modes mean nothing to root: there the test is skipped where no such user is. It begins as root, who can
    read this checkout, and like a controller it is not open to others of that user.
    """
    begin = "import sys, mlipilot.jobs.sealing, mlipilot.jobs.kept_checkpoints\n"
    begin += "from mlipilot.jobs.processes import hide_from_same_user\n"
    if os.geteuid() == 0:
        try:
            user = pwd.getpwnam(_USER)
        except KeyError:
            pytest.skip(f"there is no user {_USER}")
        os.chown(place, user.pw_uid, user.pw_gid)
        for folder in place.parents:
            if not folder.stat().st_mode & 0o001:  # pytest's own, which are root's alone
                folder.chmod(folder.stat().st_mode | 0o011)
        begin += f"import os; os.setgroups([]); os.setgid({user.pw_gid}); os.setuid({user.pw_uid})\n"
    done = subprocess.run(
        [sys.executable, "-B", "-c", f"{begin}hide_from_same_user()\n{code}"],
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
