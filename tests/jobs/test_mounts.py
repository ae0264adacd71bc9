"""Which lines of a container's mount table are the host's: of real tables, and of what is put into them."""

from __future__ import annotations

import pytest

from mlipilot.jobs.mounts import foreign_mounts, parse_mount

# Of Apptainer 1.4.5 as an ordinary user, cut down to one cgroup.
ROOTLESS = r"""
93 64 0:42 / / rw,nodev,relatime unbindable - overlay overlay ro,lowerdir=/s/overlay-lowerdir:/s/rootfs
103 93 0:40 /dev /dev rw,nosuid,relatime master:21 - tmpfs tmpfs rw,size=65536k,uid=1002,gid=1002
104 103 0:46 / /dev/shm rw,nosuid,nodev,relatime - tmpfs tmpfs rw,uid=1002,gid=1002
105 103 0:39 / /dev/mqueue rw,nosuid,nodev,relatime - mqueue mqueue rw
106 103 0:47 / /dev/pts rw,nosuid,noexec,relatime - devpts devpts rw,mode=620,ptmxmode=666
107 103 0:6 /tty /dev/tty rw,relatime master:16 - devtmpfs devtmpfs rw,size=12334492k,mode=755
108 103 0:6 /null /dev/null rw,relatime master:16 - devtmpfs devtmpfs rw,size=12334492k,mode=755
112 93 0:48 / /proc rw,nosuid,nodev,relatime - proc proc rw
113 93 0:22 / /sys rw,relatime master:4 - sysfs sysfs rw
114 113 0:28 / /sys/fs/cgroup rw,relatime master:5 - tmpfs tmpfs rw,mode=755
115 114 0:29 / /sys/fs/cgroup/cpu rw,relatime master:6 - cgroup cgroup rw,cpu
125 93 0:40 /tmp /tmp rw,nosuid,nodev,relatime master:21 - tmpfs tmpfs rw,size=65536k,uid=1002,gid=1002
126 93 0:40 /var/tmp /var/tmp rw,nosuid,nodev,relatime master:21 - tmpfs tmpfs rw,size=65536k,uid=1002
127 93 0:40 /etc/resolv.conf /etc/resolv.conf rw,nosuid,relatime master:21 - tmpfs tmpfs rw,size=65536k
128 93 254:0 /home/u/run/a\040b/recipe /run/a\040b/recipe ro,nosuid,nodev,relatime - ext4 /dev/vda rw,discard
129 93 254:0 /home/u/run/a\040b/out /run/a\040b/out rw,nosuid,nodev,relatime - ext4 /dev/vda rw,discard
"""
# Without kernel overlays: a session's tmpfs as root, into which the folders of the image are bound.
UNDERLAY = """
10 9 0:50 / / rw,nosuid - tmpfs tmpfs rw,size=16384k
11 10 0:51 /usr /usr ro,nosuid,nodev - fuse.squashfuse_ll squashfuse_ll ro,user_id=0,group_id=0
12 10 7:3 /opt /opt ro,nosuid,nodev - squashfs /dev/loop3 ro
13 10 0:40 /dev /dev rw,nosuid - tmpfs tmpfs rw
14 10 0:40 /home/u /home/u rw,nosuid - tmpfs tmpfs rw
"""
FUSE = """
10 9 0:60 / / rw,nosuid,nodev - fuse.fuse-overlayfs fuse-overlayfs rw,user_id=0,group_id=0,default_permissions
11 10 0:40 /dev /dev rw,nosuid - tmpfs tmpfs rw
"""
# What is known on sites with GPUs, lxcfs, cgroup 2, a job's own bind-paths of one file.
UNUSUAL = """
20 9 0:40 /libs /.singularity.d/libs ro,nosuid - tmpfs tmpfs rw
21 9 8:1 /usr/lib64/libcuda.so.550.54.15 /.singularity.d/libs/libcuda.so.1 ro,nosuid - xfs /dev/sda1 rw
22 9 8:1 /usr/bin/nvidia-smi /usr/bin/nvidia-smi ro,nosuid - xfs /dev/sda1 rw
23 9 0:6 /nvidia0 /dev/nvidia0 rw,nosuid - devtmpfs devtmpfs rw
24 9 0:6 /nvidia-caps /dev/nvidia-caps rw,nosuid - devtmpfs devtmpfs rw
25 9 0:6 /dri /dev/dri rw,nosuid - devtmpfs devtmpfs rw
26 9 0:24 /nvidia-persistenced/socket /run/nvidia-persistenced/socket rw,nosuid - tmpfs tmpfs rw
40 9 8:1 /lib/libcuda.so.550 /usr/lib/x86_64-linux-gnu/libcuda.so.550.54 ro,nosuid - xfs /dev/sda1 rw
41 9 8:1 /lib/firmware/nvidia/550/gsp_ga10x.bin /lib/firmware/nvidia/550/gsp_ga10x.bin ro - xfs /dev/sda1 rw
42 9 0:80 / /proc/driver/nvidia rw,nosuid - tmpfs tmpfs rw
27 9 0:70 /proc/cpuinfo /proc/cpuinfo rw,nosuid - fuse.lxcfs lxcfs rw
28 9 0:71 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw
29 9 8:1 /usr/share/zoneinfo/UTC /etc/localtime ro,nosuid - xfs /dev/sda1 rw
30 9 0:40 /passwd /etc/passwd rw,nosuid - tmpfs tmpfs rw
31 9 0:40 /group /etc/group rw,nosuid - tmpfs tmpfs rw
32 9 8:1 /etc/hosts /etc/hosts ro,nosuid - xfs /dev/sda1 rw
"""
BINDS = {"/run/a b/recipe": False, "/run/a b/out": True}


def _foreign(text: str, binds: dict[str, bool] | None = None) -> list[str]:
    table = [parse_mount(line) for line in text.strip().splitlines()]
    return list(foreign_mounts(table, binds or {}))


def test_what_apptainer_makes_is_known() -> None:
    assert _foreign(ROOTLESS, BINDS) == []
    assert _foreign(UNDERLAY) == [] and _foreign(FUSE) == []
    assert _foreign(ROOTLESS + UNUSUAL.strip("\n"), BINDS) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("8:1 /srv/secret /srv/secret rw - ext4 /dev/sda rw", "/srv/secret (ext4 /dev/sda, writable)"),
        ("8:1 /srv/secret /srv/secret ro - ext4 /dev/sda rw", "/srv/secret (ext4 /dev/sda, read-only)"),
        ("0:99 / /scratch rw - lustre 10.0.0.1@o2ib:/fs rw", "/scratch (lustre 10.0.0.1@o2ib:/fs, writable)"),
        ("8:1 /s /sp\\040ace rw - ext4 /dev/sda rw", "/sp ace (ext4 /dev/sda, writable)"),
        # Where something known is expected:
        ("8:1 /srv/secret /mnt rw - ext4 /dev/sda rw", "/mnt "),
        ("8:1 /home/u /root rw - ext4 /dev/sda rw", "/root "),
        ("8:1 /srv/secret /.singularity.d/libs/secret ro - ext4 /dev/sda rw", "/.singularity.d/libs/secret"),
        ("8:1 /srv/secret /usr/lib/libx.so ro - ext4 /dev/sda rw", "/usr/lib/libx.so"),
        ("8:1 /srv/secret /usr/bin/x ro - ext4 /dev/sda rw", "/usr/bin/x"),
        ("8:1 /srv/secret /dev/secret rw - ext4 /dev/sda rw", "/dev/secret"),
        ("0:6 /vda /dev/vda rw - devtmpfs devtmpfs rw", "/dev/vda"),
        ("0:6 /sda /dev/nvidia0 rw - ext4 /dev/sda rw", "/dev/nvidia0"),
        ("8:1 /srv/secret /sys/secret rw - ext4 /dev/sda rw", "/sys/secret"),
        ("8:1 /srv/secret /proc/1 rw - ext4 /dev/sda rw", "/proc/1"),
        ("8:1 /etc/hosts /etc/hosts rw - ext4 /dev/sda rw", "/etc/hosts"),
        ("8:1 /srv/x /etc/shadow ro - ext4 /dev/sda rw", "/etc/shadow"),
        ("0:77 / /var/lib/x ro - nfs4 server:/export ro", "/var/lib/x"),
        ("0:78 / /data ro - fuse.sshfs server:/ ro", "/data"),
        # On top of what is known, or within:
        ("8:1 /srv/secret /run/a\\040b/out rw - ext4 /dev/sda rw", "/run/a b/out, mounted 2 times"),
        ("8:1 /srv/secret /run/a\\040b/out/in rw - ext4 /dev/sda rw", "/run/a b/out/in"),
        ("0:24 / /tmp rw - tmpfs tmpfs rw", "/tmp (tmpfs"),
        ("0:24 / /dev/shm rw - tmpfs tmpfs rw", "/dev/shm, mounted 2 times"),
    ],
)
def test_what_is_the_hosts_is_named(line: str, said: str) -> None:
    found = _foreign(f"{ROOTLESS.strip()}\n1 1 {line}", BINDS)
    assert any(text.startswith(said) for text in found), found


def test_a_layer_of_somebody_elses_is_found() -> None:
    for layers in (
        "lowerdir=/s/overlay-lowerdir:/s/rootfs,upperdir=/s/overlay-images/0/upper,workdir=/s/w",
        "lowerdir=/s/overlay-lowerdir:/srv/secret:/s/rootfs",
    ):
        assert _foreign(f"1 1 0:4 / / rw - overlay overlay rw,{layers}") != []
    assert _foreign("1 1 8:1 / / rw - ext4 /dev/sda rw") != []  # no image at all


def test_hosts_folders_are_not_taken_for_those_of_a_container() -> None:
    host = """
    1 0 0:2 / / rw - tmpfs rootfs rw
    2 1 0:6 / /dev rw - devtmpfs devtmpfs rw
    3 1 0:2 /tmp /tmp rw - tmpfs rootfs rw
    4 1 0:2 /home /home rw - tmpfs rootfs rw
    """
    lines = "\n".join(line.strip() for line in host.strip().splitlines())
    assert [text.split()[0] for text in _foreign(lines)] == ["/dev", "/tmp", "/home"]


def test_a_bind_that_is_writable_or_missing_is_named() -> None:
    writable = ROOTLESS.replace("/run/a\\040b/recipe ro", "/run/a\\040b/recipe rw")
    assert "bound to be read only" in _foreign(writable, BINDS)[0]
    assert _foreign(ROOTLESS, BINDS | {"/more": False}) == ["/more is missing, though it was bound"]


@pytest.mark.parametrize("line", ["", "1 2 3", "1 2 0:1 / /x rw ext4 /dev/sda rw", "1 2 0:1 / /x rw - ext4"])
def test_what_is_no_line_of_a_mount_table_is_not_passed_over(line: str) -> None:
    with pytest.raises(ValueError, match="not a line of mountinfo"):
        parse_mount(line)
