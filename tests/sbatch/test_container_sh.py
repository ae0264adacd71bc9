"""`container.sh`: what runs images, and when an image is read again for its SHA-256."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import StandIn
from tests.sbatch.conftest import REPOSITORY

SCRIPT = REPOSITORY / "sbatch" / "container.sh"
SAY = 'source "$0" && sha256_of_image "$1" "${2:-}" && echo "$digest"'
IMAGE = b"a SIF"


class Host:
    """A node with an image that is older than a moment, and a count of how often the image was read."""

    def __init__(self, root: Path, stand_in: StandIn) -> None:
        self.root, self.runtime, self.image = root, root / "runtime", root / 'an image\\ of "ours".sif'
        self.memory = self.runtime / f"mlipilot-{os.geteuid()}"
        self.runtime.mkdir(mode=0o700)
        self.image.write_bytes(IMAGE)
        stand_in("sha256sum", f'echo >>{root}/reads; exec /usr/bin/sha256sum "$@"')
        self.age()

    def age(self) -> None:
        """Only what changed a while ago is remembered."""
        time.sleep(max(0.0, self.image.stat().st_ctime + 3.1 - time.time()))

    def found(self, always: str = "") -> str:
        """What container.sh says."""
        done = subprocess.run(
            ["bash", "-u", "-c", SAY, str(SCRIPT), str(self.image), always],
            env=os.environ | {"XDG_RUNTIME_DIR": str(self.runtime)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout.strip()

    def digest(self, always: str = "") -> str:
        """The same, which must be right, remembered or not."""
        found = self.found(always)
        assert found == hashlib.sha256(self.image.read_bytes()).hexdigest()
        return found

    def reads(self) -> int:
        log = self.root / "reads"
        return len(log.read_text().splitlines()) if log.exists() else 0


@pytest.fixture
def host(tmp_path: Path, stand_in: StandIn) -> Host:
    return Host(tmp_path, stand_in)


def test_an_image_is_read_once(host: Host) -> None:
    assert host.digest() == host.digest() == host.digest()
    assert host.reads() == 1
    (entry,) = host.memory.iterdir()
    assert entry.stat().st_mode & 0o777 == 0o600 and host.memory.stat().st_mode & 0o777 == 0o700


def test_an_image_that_changed_a_moment_ago_is_not_remembered(host: Host) -> None:
    host.image.write_bytes(IMAGE)
    host.digest()
    assert list(host.memory.iterdir()) == []


def test_a_setting_has_it_read_each_time(host: Host) -> None:
    host.digest()
    host.digest("1")
    assert host.reads() == 2
    host.digest()
    assert host.reads() == 2


def written_in_place(image: Path) -> None:
    """With its former size and time of modification."""
    before = image.stat()
    image.write_bytes(IMAGE.swapcase())
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(image: Path) -> None:
    """By a file of the same size and time of modification."""
    before, other = image.stat(), image.with_name("other")
    other.write_bytes(IMAGE.swapcase())
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(image)


@pytest.mark.parametrize("change", [written_in_place, replaced, Path.touch])
def test_an_image_that_was_touched_is_read_again(host: Host, change: object) -> None:
    host.digest()
    assert callable(change)
    change(host.image)
    host.digest()  # which compares what it finds
    assert host.reads() == 2


def test_what_was_remembered_before_a_boot_or_is_cut_off_is_not_believed(host: Host) -> None:
    host.digest()
    (entry,) = host.memory.iterdir()
    text = entry.read_text()
    for other in (text.replace("boot=", "boot=0"), text[:-9], "", text.replace(IMAGE.decode(), "")[:40]):
        entry.write_text(other)
        before = host.reads()
        host.digest()
        assert host.reads() == before + 1, other


def forge(host: Host) -> None:
    """Have the memory say something else of the image."""
    host.digest()
    (entry,) = host.memory.iterdir()
    entry.write_text(entry.read_text()[:-65] + "0" * 64 + "\n")
    assert host.found() == "0" * 64


def test_a_memory_that_others_can_write_is_not_trusted(host: Host) -> None:
    forge(host)
    host.memory.chmod(0o755)
    host.digest()
    host.memory.chmod(0o700)
    host.runtime.chmod(0o777)  # whoever it is can put another directory in the place of ours
    host.digest()


def test_a_link_is_no_memory(host: Host) -> None:
    forge(host)
    host.memory.rename(host.root / "elsewhere")
    host.memory.symlink_to(host.root / "elsewhere")
    host.digest()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_memory_of_somebody_else_is_not_trusted(host: Host) -> None:
    forge(host)
    os.chown(host.memory, 12345, 12345)
    host.digest()
    os.chown(host.memory, 0, 0)
    os.chown(host.runtime, 12345, 12345)
    host.digest()


def test_where_nothing_can_be_remembered_the_image_is_read(host: Host) -> None:
    host.memory.write_text("a file")
    host.digest()
    host.digest()
    assert host.reads() == 2


def test_an_image_that_cannot_be_read_has_no_digest(host: Host) -> None:
    done = subprocess.run(
        ["bash", "-u", "-c", SAY, str(SCRIPT), str(host.root / "none")], capture_output=True
    )
    assert done.returncode != 0 and done.stdout == b""


@pytest.mark.parametrize(
    ("here", "found"),
    [(("apptainer", "singularity"), "apptainer"), (("singularity",), "singularity"), ((), "")],
)
def test_apptainer_comes_before_singularity(tmp_path: Path, here: tuple[str, ...], found: str) -> None:
    for name in here:
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    script = 'source "$0"; find_container && give_inside A "b c" && echo "$container"'
    script += ' && declare -p "${container^^}ENV_A"'
    done = subprocess.run(
        ["/bin/bash", "-u", "-c", script, str(SCRIPT)],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    told = f'{found}\ndeclare -x {found.upper()}ENV_A="b c"\n' if found else ""
    assert (done.stdout, done.returncode) == (told, 0 if found else 1)
