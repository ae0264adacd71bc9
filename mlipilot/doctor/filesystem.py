"""The filesystem of the run: what every campaign needs, wherever its jobs run."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlipilot.doctor import filesystem_probe
from mlipilot.doctor.check import Check, failed, ok, warning
from mlipilot.jobs.mounts import Mount, parse_mount
from mlipilot.programs import ask

LEAST_FREE_BYTES = 5 * 2**30
_MOVE = "put the run elsewhere: --run-dir DIR, and MLIPILOT_RUN for the sbatch file"
# Their flock is served by the client's own kernel: another node's lock is not seen.
_LOCKS_ON_ONE_NODE = {"beegfs", "fuse.sshfs", "fuse.s3fs", "fuse.rclone"}
_LOCKS_BY_OPTION = {
    "lustre": {"localflock"},
    "nfs": {"nolock", "local_lock=flock", "local_lock=all"},
    "nfs4": {"local_lock=flock", "local_lock=all"},
    "cifs": {"nobrl"},
    "smb3": {"nobrl"},
    "ocfs2": {"localflocks"},
    "gfs2": {"localflocks"},
}
# Other nodes do not see it, unless this one exports it.
_OF_ONE_NODE = {"ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "tmpfs", "ramfs", "overlay"}


def check_filesystem(run: Path, *, shared: bool, timeout_s: float = 60) -> Iterator[Check]:
    """Rename, link and fsync; locks; free space. `shared`: jobs on other nodes write the run, too."""
    argv = [sys.executable, "-I", str(Path(filesystem_probe.__file__)), str(run)]
    answer = ask(argv, timeout_s=timeout_s)
    if not answer.ok:
        said = answer.words.replace(sys.executable, "a probe of rename, link and lock")
        yield failed("filesystem", f"{run}: {said}", f"its file server may be down; or {_MOVE}")
        return
    found: dict[str, Any] = json.loads(answer.stdout)
    directory = found["directory"]
    if found["writable"] is not None:
        yield failed("filesystem", f"{directory}: nothing can be written: {found['writable']}", _MOVE)
        return
    mount = mount_of(directory, Path("/proc/self/mountinfo").read_text(errors="replace"))
    yield _check_files(found, mount, shared=shared)
    yield _check_lock(found["lock"], mount)
    yield _check_space(found["free_bytes"], directory)


def _check_files(found: dict[str, Any], mount: Mount, *, shared: bool) -> Check:
    where = f"{found['directory']} ({mount.kind} mounted at {mount.point})"
    faults = [f"{name}: {found[name]}" for name in ("rename", "link") if found[name] is not None]
    if faults:
        return failed("filesystem", f"{where}: {'; '.join(faults)}", _MOVE)
    if shared and mount.kind in _OF_ONE_NODE:
        return warning(
            "filesystem",
            f"{where}: rename, link and fsync hold, but {mount.kind} is a disk of this node alone",
            f"jobs on other nodes must see the run: {_MOVE} (fine if this node runs all jobs, or exports it)",
        )
    return ok("filesystem", f"{where}: rename, link and fsync hold")


def _check_lock(fault: str | None, mount: Mount) -> Check:
    if fault is not None:
        mend = (
            f"lineages that begin together could collide: {_MOVE}; on Lustre the site can mount with `flock`"
        )
        return failed("lock", f"flock on {mount.kind}: {fault}", mend)
    if locks_on_one_node(mount):
        return warning(
            "lock",
            f"flock holds on this node; {mount.kind} at {mount.point} is known not to tell other nodes",
            "controllers are kept apart all the same, but not while the data set is built: let one lineage "
            "build it alone (`sbatch --array=0`), or have the site turn on locks across nodes",
        )
    return ok("lock", "flock keeps two processes apart")


def _check_space(free_bytes: int, directory: str) -> Check:
    free = f"{free_bytes / 2**30:.1f} GiB free at {directory} (a quota may allow less)"
    if free_bytes < LEAST_FREE_BYTES:
        mend = (
            f"make room: below {LEAST_FREE_BYTES >> 30} GiB a campaign may pause on a full disk; or {_MOVE}"
        )
        return warning("space", free, mend)
    return ok("space", free)


def mount_of(directory: str, mountinfo: str) -> Mount:
    """The mount that holds `directory`, by the text of /proc/self/mountinfo."""
    best = Mount("", "/", "/", "unknown", "", frozenset())
    for line in mountinfo.splitlines():
        with suppress(ValueError):
            mount = parse_mount(line)
            holds = directory == mount.point or directory.startswith(mount.point.rstrip("/") + "/")
            # Of two mounts at one place the later one is on top.
            if holds and len(mount.point) >= len(best.point):
                best = mount
    return best


def locks_on_one_node(mount: Mount) -> bool:
    """Whether a lock is known not to reach other nodes."""
    by_option = mount.options & _LOCKS_BY_OPTION.get(mount.kind, frozenset())
    return mount.kind in _LOCKS_ON_ONE_NODE or bool(by_option)
