"""The shipped campaigns from a fresh clone to a verified report, with nothing shortened."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.documents.blocks import block
from tests.documents.conftest import clone
from tests.documents.test_cluster import await_jobs, clone_with_image, end_jobs
from tests.documents.user import Shell, User
from tests.end_to_end.cluster import IMAGE, needs_image, needs_slurm

pytestmark = [pytest.mark.slow, pytest.mark.sweep, pytest.mark.xdist_group("whole campaigns")]


def test_the_quickstart(user: User, desk: Path) -> None:
    with Shell(user, desk) as shell:
        clone(shell, desk, "quickstart")
        said = shell.type(block("README.md", "bash ci/quickstart.sh").take("bash"), seconds=3000)
    assert "20/20" in said and "every verdict recomputed" in said


@needs_slurm
@needs_image
@pytest.mark.parametrize("who", ["an ordinary user", "root"])
def test_a_campaign_on_a_cluster(who: str, user: User) -> None:
    assert IMAGE is not None
    if who == "root":
        if os.geteuid():
            pytest.skip("only root may become root")
        user = User("root")
    desk = user.desk()
    root = clone_with_image(user, desk, "whole")
    commands = block("README.md", "git clone")
    try:
        with Shell(user, root) as shell:
            shell.type(commands.lines[3])
            shell.type(commands.lines[4])
            shell.type("while [ ! -e runs/cu_emt/lineage-0 ]; do sleep 1; done", seconds=300)
            said = await_jobs(shell, lambda said: "finished" in said, seconds=3000)
            assert "20 of 20" in said
            assert "every verdict recomputed" in shell.type("mlipilot verify runs/cu_emt")
    finally:
        end_jobs(root)
        shutil.rmtree(desk)
