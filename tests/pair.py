"""Two ordinary users in one group, on a machine whose root may add and remove them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.documents.user import User

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ":".join([str(REPOSITORY), *(path for path in sys.path if path.endswith("site-packages"))])
PYTHONS = (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}")
GROUP, NAMES = "mlipilot-lab", ("mlipilot-alice", "mlipilot-bob")
needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("useradd") is None, reason="only root may add the two users of a group"
)


@dataclass(frozen=True)
class Pair:
    """Who begins a run, and who comes later; `desk` is a folder that everybody may enter."""

    alice: User
    bob: User
    gid: int
    desk: Path
    python: str
    """One that they can run; that of the tests may lie in root's home."""

    def environment(self, user: User) -> dict[str, str]:
        """A login's, with this checkout and its packages."""
        return user.environment() | {"PYTHONPATH": PACKAGES, "OMP_NUM_THREADS": "1"}

    def do(
        self, user: User, line: str, *, umask: str = "022", status: int | None = 0, seconds: float = 300
    ) -> str:
        """What a line of bash says to a user on both streams; `mlipilot` is this checkout's."""
        tool = f'mlipilot() {{ "{self.python}" -m mlipilot "$@"; }}'
        done = subprocess.run(
            user.command("bash", "-c", f"umask {umask}; {tool}; {line}"),
            cwd=self.desk,
            env=self.environment(user),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert status is None or done.returncode == status, f"`{line}`: {done.returncode}\n{done.stdout}"
        assert "Traceback" not in done.stdout, done.stdout
        return done.stdout

    def own(self, user: User, folder: Path, umask: int = 0o022, gid: int | None = None) -> None:
        """Make a tree what it would be, had `user` written it under that umask."""
        for path in (folder, *folder.rglob("*")):
            os.chown(path, user.uid, user.gid if gid is None else gid, follow_symlinks=False)
            if not path.is_symlink():
                setgid = 0o2000 if gid is not None else 0
                path.chmod((0o777 | setgid if path.is_dir() else 0o666) & ~umask)


@contextlib.contextmanager
def two_users() -> Iterator[Pair]:
    """Add the users, and remove them again with all that is theirs."""
    desk = Path(tempfile.mkdtemp(prefix="mlipilot-group-"))  # pytest keeps its own folders to itself
    desk.chmod(0o755)
    for name in NAMES:
        subprocess.run(["bash", REPOSITORY / "ci/cluster/user.sh", name, GROUP], check=True)
    alice, bob = map(User, NAMES)
    try:
        found = [python for python in PYTHONS if _can_run(bob, python)]
        if not found:
            pytest.skip(f"no Python that other users can run finds the packages of {REPOSITORY}")
        yield Pair(alice, bob, _gid(), desk, found[0])
    finally:
        for name in NAMES:
            subprocess.run(["userdel", "--remove", "--force", name], capture_output=True, check=False)
        subprocess.run(["groupdel", GROUP], capture_output=True, check=False)
        shutil.rmtree(desk)


def _can_run(user: User, python: str) -> bool:
    # By way of bash, because setpriv itself begins a program with what is left of root's rights.
    command = user.command("bash", "-c", f"exec {python} -c 'import mlipilot.cli.app, numpy'")
    environment = user.environment() | {"PYTHONPATH": PACKAGES}
    return subprocess.run(command, env=environment, cwd="/", capture_output=True, check=False).returncode == 0


def _gid() -> int:
    listed = subprocess.run(["getent", "group", GROUP], capture_output=True, text=True, check=True)
    return int(listed.stdout.split(":")[2])
