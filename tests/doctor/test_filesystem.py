"""The run's filesystem: what holds here, what a mount's options say, and faults of the probe."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlipilot.doctor import filesystem, filesystem_probe
from mlipilot.doctor.filesystem import check_filesystem, locks_on_one_node, mount_of

MOUNTINFO = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
40 22 0:40 / /scratch rw,relatime - lustre 10.0.0.1@tcp:/fs rw,flock
41 22 0:41 / /scratch/local rw - lustre 10.0.0.1@tcp:/fs rw,localflock
42 22 0:42 / /home rw - nfs4 server:/home rw,vers=4.2,local_lock=none
43 22 0:43 / /home/old rw - nfs server:/old rw,nolock,local_lock=all
44 22 0:44 / /two\\040words rw - beegfs beegfs_nodev rw
45 22 0:45 / /scratch rw - gpfs fs rw
"""


def test_this_machines_filesystem_holds_and_nothing_is_left_behind(tmp_path: Path) -> None:
    found = {check.name: check for check in check_filesystem(tmp_path / "runs" / "new", shared=False)}
    assert found["filesystem"].status == found["lock"].status == "ok"
    assert found["space"].status in ("ok", "warning")
    assert str(tmp_path) in found["filesystem"].found
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("directory", "kind", "on_one_node"),
    [
        ("/srv/runs", "ext4", False),
        ("/scratch/runs", "gpfs", False),
        ("/scratch/local/runs", "lustre", True),
        ("/scratch/localized", "gpfs", False),
        ("/home/ada", "nfs4", False),
        ("/home/old/ada", "nfs", True),
        ("/two words/runs", "beegfs", True),
    ],
)
def test_the_mount_says_whether_locks_reach_other_nodes(directory: str, kind: str, on_one_node: bool) -> None:
    mount = mount_of(directory, MOUNTINFO)
    assert (mount.kind, locks_on_one_node(mount)) == (kind, on_one_node)


def test_locks_of_one_node_are_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "mount_of", lambda directory, text: mount_of("/two words", MOUNTINFO))
    found = {check.name: check for check in check_filesystem(tmp_path, shared=True)}
    assert found["filesystem"].status == "ok"
    assert found["lock"].status == "warning" and "beegfs" in found["lock"].found


def test_a_disk_of_one_node_is_a_warning_where_jobs_run_on_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filesystem, "mount_of", lambda directory, text: mount_of("/srv", MOUNTINFO))
    assert next(check_filesystem(tmp_path, shared=True)).status == "warning"
    assert next(check_filesystem(tmp_path, shared=False)).status == "ok"


def test_little_space_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystem, "LEAST_FREE_BYTES", 2**62)
    found = {check.name: check for check in check_filesystem(tmp_path, shared=False)}
    assert found["space"].status == "warning" and "GiB free" in found["space"].found


def test_a_place_where_nothing_can_be_written_fails() -> None:
    (found,) = check_filesystem(Path("/proc/runs"), shared=False)
    assert found.status == "failed" and "/proc: nothing can be written" in found.found
    assert "--run-dir" in found.mend


def test_a_file_server_that_does_not_answer_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = tmp_path / "stand_in_probe.py"
    hanging.write_text("import time; time.sleep(60)")
    monkeypatch.setattr(filesystem_probe, "__file__", str(hanging))
    (found,) = check_filesystem(tmp_path, shared=False, timeout_s=0.3)
    assert found.status == "failed" and "did not answer within 0.3 s" in found.found


@pytest.mark.parametrize(
    ("broken", "line", "said"),
    [
        (
            "os.link = lambda a, b: (_ for _ in ()).throw(OSError(1, 'not permitted'))",
            "filesystem",
            "link: not p",
        ),
        ("os.link = lambda a, b: shutil.copy(a, b)", "filesystem", "a link was made twice"),
        ("fcntl.flock = lambda a, b: None", "lock", "two processes held the same flock"),
        ("fcntl.flock = lambda a, b: (_ for _ in ()).throw(OSError(38, 'not there'))", "lock", "not there"),
        ("Path.replace = lambda a, b: None", "filesystem", "did not replace"),
    ],
)
def test_a_filesystem_that_breaks_a_promise_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, line: str, said: str
) -> None:
    """The probe itself, on calls that misbehave as such filesystems do."""
    source = Path(filesystem_probe.__file__).read_text()
    probe = tmp_path / "stand_in_probe.py"
    probe.write_text(
        source.replace('if __name__ == "__main__":', f'if __name__ == "__main__":\n    {broken}')
    )
    monkeypatch.setattr(filesystem_probe, "__file__", str(probe))
    found = {check.name: check for check in check_filesystem(tmp_path, shared=False)}
    assert found[line].status == "failed" and said in found[line].found
    assert sum(check.status == "failed" for check in found.values()) == 1


def test_the_probe_is_a_program_of_the_standard_library(tmp_path: Path) -> None:
    argv = [sys.executable, "-I", "-S", filesystem_probe.__file__, str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["directory"] == os.path.realpath(tmp_path)
