"""A real Slurm of the tests' own, whose nodes and controller may be harmed: two nodes on this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from tests.ports import reserved_ports
from tests.waiting import wait_until

SCRIPTS = Path(__file__).resolve().parents[2] / "ci" / "cluster"
has_accounting = all(map(shutil.which, ("slurmdbd", "mariadbd")))
needs_daemons = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("slurmctld", "slurmd", "munged"))),
    reason="to start a Slurm of one's own, be root and have its daemons: ci/cluster/install.sh",
)


@dataclass(frozen=True)
class OwnCluster:
    """The cluster of `ci/cluster/up.sh --faults` in `root`; commands that get `environment` talk to it."""

    root: Path
    environment: dict[str, str]

    def says(self, *command: str) -> str:
        done = subprocess.run(
            command, env=os.environ | self.environment, capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout.strip()

    def jobs_by_name(self) -> dict[str, list[str]]:
        """The numbers of all jobs that there have been."""
        found: dict[str, list[str]] = {}
        for line in self.says("squeue", "-h", "-t", "all", "-o", "%A|%j").splitlines():
            number, name = line.split("|")
            found.setdefault(name, []).append(number)
        return found

    def node_of(self, job: str) -> str:
        return self.says("squeue", "-h", "-j", job, "-o", "%N")

    def lose_node(self, node: str) -> None:
        """Slurm gives the node up, and takes it back when its daemon answers."""
        self.says("scontrol", "update", f"nodename={node}", "state=down", "reason=test")

    def restart_controller(self, away_s: float) -> None:
        pid = int((self.root / "slurmctld.pid").read_text())
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not Path(f"/proc/{pid}").exists())
        time.sleep(away_s)
        self.says("slurmctld")


@contextlib.contextmanager
def own_cluster(root: Path, *options: str) -> Iterator[OwnCluster]:
    """Start the cluster in `root`, and end it with all that runs there. `options`: more of `up.sh`."""
    with reserved_ports(4) as first:
        environment = {
            "SLURM_CONF": str(root / "slurm.conf"),
            "MLIPILOT_CLUSTER_DIR": str(root),
            "MLIPILOT_CLUSTER_PORT": str(first),
        }
        cluster = OwnCluster(root, environment)
        # All clusters have one munged, which the first starts and the last ends.
        at_a_time = FileLock(Path(tempfile.gettempdir()) / f"mlipilot-own-clusters-{os.getuid()}.lock")
        try:
            with at_a_time:
                cluster.says("bash", str(SCRIPTS / "up.sh"), "--faults", *options)
            yield cluster
        finally:
            with at_a_time:
                cluster.says("bash", str(SCRIPTS / "down.sh"))


needs_accounting = pytest.mark.skipif(
    not has_accounting, reason="slurmdbd or MariaDB is missing: ci/cluster/install.sh"
)
