"""The test clusters of `ci/cluster`: what `down.sh` leaves, also of one that was hurt or is half gone."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.own_cluster import SCRIPTS, needs_accounting, needs_daemons, own_cluster

pytestmark = [pytest.mark.cluster, needs_daemons, needs_accounting]
DAEMONS = {"slurmctld", "slurmd", "slurmdbd", "mariadbd"}


def daemons(root: Path) -> dict[str, list[int]]:
    """The pids of all that was started for the cluster in `root`, by the program's name."""
    found: dict[str, list[int]] = {}
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if f"MLIPILOT_CLUSTER_DIR={root}".encode() in environ.read_bytes().split(b"\0"):
                name = environ.with_name("comm").read_text().strip()
                found.setdefault(name, []).append(int(environ.parent.name))
    return found


def test_nothing_of_a_cluster_with_accounts_is_left(tmp_path: Path) -> None:
    """Nor of one whose start or end was itself ended half-way, with a daemon that hears nothing."""
    with own_cluster(tmp_path, "--accounting") as cluster:
        assert cluster.says("sacctmgr", "-nP", "show", "cluster", "format=cluster") == "mlipilot"
        before = daemons(tmp_path)
        assert before.keys() >= DAEMONS
        for file in (*tmp_path.glob("*.pid"), tmp_path / "slurm.conf"):
            file.unlink()
        os.kill(before["slurmdbd"][0], signal.SIGSTOP)
    assert daemons(tmp_path) == {}
    assert not (tmp_path / "slurm.conf").exists() and not (tmp_path / "slurmdbd.conf").exists()
    again = subprocess.run(
        ["bash", str(SCRIPTS / "down.sh")],
        env=os.environ | cluster.environment,
        capture_output=True,
        text=True,
    )
    assert (again.returncode, again.stdout) == (0, f"no cluster in {tmp_path} is up\n")
