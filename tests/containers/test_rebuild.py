"""The image once more: elsewhere, later, by a user who has less, and where it cannot be built."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.containers.image import IMAGE, NAME, entries, sha256_of, wheelhouse
from tests.documents.user import User

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("the image once more")]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hide a file from a user's build")
def test_the_same_inputs_give_the_same_image(
    entry: dict[str, Any], tmp_path: Path, path_without: Callable[..., str]
) -> None:
    """To an ordinary user elsewhere and later: nothing of the host's settings, rights and times is in it."""
    user = User(os.environ.get("MLIPILOT_TEST_USER", "root"))
    desk = user.desk()
    try:
        (hidden := tmp_path / "empty").touch()
        for name in ("far", "far/tmp"):
            (desk / name).mkdir()
            user.own(desk / name)
        shutil.copytree(path_without("apptainer", "fakeroot"), desk / "bin", symlinks=True)
        (desk / "far" / "tmp").chmod(0o2755)  # a project's directory, whose group is another
        os.chown(desk / "far" / "tmp", user.uid, 0)
        hostile = {
            "APPTAINERENV_PYTHONOPTIMIZE": "2",
            "APPTAINER_BIND": "/srv",
            "LANG": "tr_TR.UTF-8",
            "PIP_TARGET": "/nowhere",
            "PYTHONPATH": "/nowhere",
            "SOURCE_DATE_EPOCH": "86400",
            "TMPDIR": str(desk / "far" / "tmp"),
            "TZ": "Asia/Tokyo",
        }
        build = f"""
            umask 077
            cd far && git clone -q ../upstream.git again && cd again
            touch mlipilot-cu_emt-7_0.log submitter.log mlipilot/not_tracked.py
            containers/build.sh image cpu --offline --wheelhouse {wheelhouse()} --output ../out"""
        # Where there is one, its name is `singularity` and nobody has subordinate ids or `fakeroot`.
        hide = f"mount --bind {hidden} /etc/subuid"
        done = subprocess.run(
            [
                "unshare",
                "--mount",
                "bash",
                "-c",
                f'{hide}; exec "$@"',
                "-",
                *user.command("bash", "-ec", build),
            ],
            cwd=desk,
            env=user.environment() | hostile | {"PATH": str(desk / "bin")},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-6000:]
        assert "git does not track them (git add): mlipilot/not_tracked.py" in done.stderr
        again = entries(desk / "far" / "out")[NAME]
        if any(again[key] != entry[key] for key in ("source_git_tree", "source_digest")):
            pytest.skip("the sources have changed since MLIPILOT_TEST_IMAGE was built")
        assert again == entry
        assert sha256_of(desk / "far" / "out" / IMAGE) == entry["sif_sha256"]
    finally:
        shutil.rmtree(desk)


def test_a_host_without_user_namespaces_is_told_what_to_ask_for(tmp_path: Path) -> None:
    user = User(os.environ.get("MLIPILOT_TEST_USER") or pwd.getpwuid(os.geteuid()).pw_name)
    if user.uid == 0:
        pytest.skip("root needs none: MLIPILOT_TEST_USER names an ordinary user")
    desk = user.desk()
    try:
        build = f"""
            git clone -q upstream.git clone && echo 0 >/proc/sys/user/max_user_namespaces
            clone/containers/build.sh image cpu --offline --wheelhouse {wheelhouse()} --output out"""
        apart = ["unshare", "--user", "--map-current-user", "--keep-caps", "bash", "-ec", build]
        done = subprocess.run(
            user.command(*apart), cwd=desk, env=user.environment(), capture_output=True, text=True
        )
        assert done.returncode == 1, done.stderr
        assert f"gives no user namespaces to {user.name}: ask the site for them" in done.stderr
        assert "carry the SIF, with images.lock, to here" in done.stderr
        assert not list(desk.glob("out/*"))
    finally:
        shutil.rmtree(desk)
