"""What a container's mount table shows of the host beyond what was asked for.

Known are the image, what Apptainer makes itself (a session's tmpfs, devices, /proc, /sys, the libraries of
`--nv`) and the job's own binds. All else came from elsewhere: `bind path` of a site's apptainer.conf, a
variable such as APPTAINER_BIND, a wrapper around the command.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

_MEMORY = ("tmpfs", "ramfs")
# Filesystems of the kernel's own, by the directory below which they are found.
_OF_KERNEL = {
    "/proc": {"proc", "binfmt_misc", "autofs", "fuse.lxcfs", "devtmpfs", *_MEMORY},
    "/sys": {
        *("sysfs", "cgroup", "cgroup2", "securityfs", "debugfs", "tracefs", "pstore", "bpf", "efivarfs"),
        *("configfs", "selinuxfs", "fusectl", "autofs", "fuse.lxcfs", *_MEMORY),
    },
}
_BESIDE_DEVICES = {"/dev/shm": _MEMORY, "/dev/mqueue": ("mqueue",), "/dev/pts": ("devpts",)}  # noqa: S108
_DEVICES = re.compile(
    r"/dev/(null|zero|full|random|urandom|tty|console|ptmx|fuse|kfd|nvidia([0-9]+|ctl|-uvm|-uvm-tools|-modeset)"
    r"|nvidia-caps(/nvidia-cap[0-9]+)?|dri(/[A-Za-z0-9._:/-]+)?)"
)
# Of `--nv` and `--rocm`, or a site's `always use nv` and `use nvidia-container-cli`: libraries, tools,
# firmware and the driver's sockets.
_OF_GPU = re.compile(
    r"/\.singularity\.d/libs/lib[A-Za-z0-9_+.-]+\.so[0-9.]*|/usr/bin/nvidia-[a-z-]+"
    r"|/(usr/)?lib(64|/[a-z0-9_]+-linux-gnu)?(/vdpau)?/lib(cuda|nv|vdpau_nv|GL|EGL|Open[GC]L)[\w.-]*\.so[0-9.]*"
    r"|/(usr/)?lib/firmware/nvidia/[\w./-]+"
    r"|/(var/)?run/nvidia-(persistenced|fabricmanager)(/socket)?"
)
_OF_IMAGE = ("squashfs", "fuse.squashfuse", "fuse.squashfuse_ll")
# Small files of the host that say how names, times and users are written.
_ETC = {f"/etc/{name}" for name in ("resolv.conf", "hosts", "hostname", "localtime", "passwd", "group")}


@dataclass(frozen=True)
class Mount:
    """One line of /proc/PID/mountinfo, as proc(5) has it."""

    device: str
    root: str
    """The directory of the filesystem that is seen here."""
    point: str
    kind: str
    source: str
    options: frozenset[str]
    """Of the mount and of the filesystem."""

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written through it."""
        return "ro" in self.options

    def __str__(self) -> str:
        return f"{self.point} ({self.kind} {self.source}, {'read-only' if self.read_only else 'writable'})"


def parse_mount(line: str) -> Mount:
    """A line of mountinfo. Raises ValueError for what is none."""
    before, dash, after = line.partition(" - ")
    fields, filesystem = before.split(" "), after.split(" ")
    if not dash or len(fields) < 6 or len(filesystem) < 2:
        raise ValueError(f"not a line of mountinfo: {line[:100]!r}")
    of_filesystem = filesystem[2].split(",") if len(filesystem) > 2 else []
    return Mount(
        device=fields[2],
        root=_unescape(fields[3]),
        point=_unescape(fields[4]),
        kind=filesystem[0],
        source=_unescape(filesystem[1]),
        options=frozenset(fields[5].split(",") + of_filesystem),
    )


def foreign_mounts(table: Sequence[Mount], binds: Mapping[str, bool]) -> Iterator[str]:
    """What nobody asked for, one text each. `binds`: the job's own, and whether each is to be writable."""
    session = {m.device for m in table if m.point == m.root == "/dev" and m.kind in _MEMORY}
    times = Counter(mount.point for mount in table)
    for mount in table:
        if mount.point in binds:
            if not binds[mount.point] and not mount.read_only:
                yield f"{mount}, bound to be read only"
        elif not (mount.device in session or _is_known(mount)):
            yield str(mount)
    # What is mounted over another mount hides it: the checks above saw the right one and the wrong one.
    for point, number in times.items():
        if number > 1 and not point.startswith(("/proc", "/sys")):
            yield f"{point}, mounted {number} times"
    for point in binds:
        if point not in times:
            yield f"{point} is missing, though it was bound"


def _is_known(mount: Mount) -> bool:
    point = mount.point
    if point == "/":
        return _is_image(mount)
    for folder, kinds in _OF_KERNEL.items():
        if point == folder or point.startswith(f"{folder}/"):
            return mount.kind in kinds
    if mount.root == "/" and mount.kind in _BESIDE_DEVICES.get(point, ()):
        return True
    if _DEVICES.fullmatch(point):
        return mount.root == point.removeprefix("/dev") or mount.kind in ("devtmpfs", "devpts")
    if _OF_GPU.fullmatch(point):
        return True
    return mount.read_only and (mount.kind in _OF_IMAGE or point in _ETC)


def _is_image(root: Mount) -> bool:
    """Whether all that `/` consists of is the image, with no layer of anybody else's, read-only or not."""
    if root.kind == "overlay":
        layers = [option for option in root.options if option.startswith(("lowerdir", "upperdir"))]
        names = {part.rpartition("/")[2] for layer in layers for part in layer.partition("=")[2].split(":")}
        has_upper = any(layer.startswith("upperdir") for layer in layers)
        return names <= {"overlay-lowerdir", "rootfs"} and not has_upper
    return root.kind in (*_OF_IMAGE, *_MEMORY, "fuse", "fuse.fuse-overlayfs", "fuse-overlayfs")


def _unescape(text: str) -> str:
    """Blanks and the like are written in octal there, such as `\\040`."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)
