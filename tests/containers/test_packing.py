"""How build.sh packs a root file system, on a small one: the same files give the same SIF."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import StandIn
from tests.containers.image import CONTAINERS, build_sh, need_apptainer

PACK = """
say() { echo "$*" >&2; }; refuse() { say "$*"; exit 1; }; need() { :; }
work=$1; mkdir -p "$work"
source "$0/../sbatch/container.sh"; find_container
source "$0/sif.sh" && pack_sif "$2" "$3" && echo "$mksquashfs_version"
"""


@pytest.fixture
def tree(shell_image: Path, tmp_path: Path) -> Path:
    """A root file system as Apptainer leaves it."""
    need_apptainer()
    folder = tmp_path / "tree"
    made = subprocess.run(
        ["apptainer", "build", "--sandbox", folder, shell_image], capture_output=True, text=True
    )
    if made.returncode:
        pytest.skip(f"apptainer builds nothing here: {made.stderr[-200:]}")
    return folder


def pack(tree: Path, sif: Path) -> subprocess.CompletedProcess[str]:
    words = ["bash", "-euc", PACK, str(CONTAINERS), str(sif.parent / "work"), str(tree), str(sif)]
    return subprocess.run(words, capture_output=True, text=True)


def test_times_and_owners_are_not_in_a_sif(tree: Path, tmp_path: Path) -> None:
    first = pack(tree, tmp_path / "a.sif")
    assert first.returncode == 0, first.stderr
    later = tmp_path / "elsewhere" / "tree"
    shutil.copytree(tree, later, symlinks=True)
    os.utime(later / "bin" / "sh", (1, 1))
    (tmp_path / "b").mkdir()
    labels = later / ".singularity.d" / "labels.json"
    if os.geteuid() == 0:
        os.chown(later / "bin" / "sh", 12345, 12345)
    assert "1970" in labels.read_text()
    labels.write_text(labels.read_text().replace("Thursday_1_January_1970", "Monday_30_November_2026"))
    second = pack(later, tmp_path / "b" / "b.sif")
    assert second.returncode == 0, second.stderr
    assert (tmp_path / "a.sif").read_bytes() == (tmp_path / "b" / "b.sif").read_bytes()
    run = subprocess.run(
        ["apptainer", "exec", tmp_path / "a.sif", "cat", "/proc/self/comm"], capture_output=True
    )
    assert run.stdout == b"cat\n", run.stderr


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed: no keys")
def test_what_is_packed_can_be_inspected_signed_and_verified(tree: Path, tmp_path: Path) -> None:
    private, public, sif = (str(tmp_path / name) for name in ("a.pem", "a-public.pem", "a.sif"))
    assert pack(tree, Path(sif)).returncode == 0
    for words in (
        ["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", private],
        ["openssl", "pkey", "-in", private, "-pubout", "-out", public],
        ["apptainer", "sign", "--key", private, sif],
        ["apptainer", "verify", "--key", public, sif],
    ):
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    shown = subprocess.run(
        ["apptainer", "inspect", "--json", "--labels", sif], capture_output=True, text=True
    )
    labels = json.loads(shown.stdout)["data"]["attributes"]["labels"]
    assert labels["org.label-schema.build-date"] == "Thursday_1_January_1970_0:0:0_UTC"


def test_an_older_mksquashfs_packs_all_the_same_and_says_what_is_missing(
    tree: Path, tmp_path: Path, stand_in: StandIn
) -> None:
    """4.3, which knows neither zstd nor how to set times."""
    real = shutil.which("mksquashfs") or pytest.skip("no mksquashfs here")
    stand_in(
        "mksquashfs",
        f"""case " $* " in
          *' -help '*) echo 'SYNTAX: mksquashfs -all-root -noappend' ;;
          *' -version '*) echo 'mksquashfs version 4.3-git.1 (2014/06/13)' ;;
          *zstd* | *-all-time* | *-mkfs-time*) echo 'invalid option' >&2; exit 1 ;;
          *) exec {real} "$@" ;;
        esac""",
    )
    done = pack(tree, tmp_path / "a.sif")
    assert (done.returncode, done.stdout) == (0, "4.3-git.1\n"), done.stderr
    assert "mksquashfs 4.3-git.1 is older than 4.4" in done.stderr


def test_what_mksquashfs_says_of_a_failure_is_shown(tree: Path, tmp_path: Path, stand_in: StandIn) -> None:
    stand_in("mksquashfs", 'case $1 in -help) ;; *) echo "no space left"; exit 1 ;; esac')
    done = pack(tree, tmp_path / "a.sif")
    assert done.returncode == 1 and "no space left" in done.stderr
    assert not (tmp_path / "a.sif").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts file systems")
def test_a_place_where_no_program_starts_is_told(tmp_path: Path) -> None:
    need_apptainer()
    (place := tmp_path / "noexec").mkdir()
    build: list[str | Path] = [
        CONTAINERS / "build.sh",
        "image",
        "--offline",
        "--wheelhouse",
        tmp_path,
        "--output",
        tmp_path,
    ]
    done = subprocess.run(
        [
            "unshare",
            "--mount",
            "bash",
            "-c",
            'mount -t tmpfs -o noexec none "$0"; exec bash "$@"',
            place,
            *build,
        ],
        env=os.environ | {"TMPDIR": str(place)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert f"no program starts below {place} (mounted with noexec?): set TMPDIR" in done.stderr


def test_a_host_without_apptainer_and_singularity_is_told(
    tmp_path: Path, path_without: Callable[..., str]
) -> None:
    path = path_without("apptainer", "singularity")
    done = subprocess.run(
        ["bash", CONTAINERS / "build.sh", "image", "--offline", "--output", tmp_path],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert (
        "neither apptainer nor singularity is on the PATH: install Apptainer 1.2 or SingularityCE 4.0"
        in done.stderr
    )


@pytest.mark.parametrize(
    ("says", "verdict"),
    [
        ("singularity-ce version 3.11.4", "is too old: install Apptainer 1.2 or SingularityCE 4.0"),
        ("singularity version 3.8.7", "is too old: install Apptainer 1.2 or SingularityCE 4.0"),
        ("singularity-ce version 4.1.2-jammy", "no wheelhouse in"),
        ("apptainer version 1.1.9", "is too old: install Apptainer 1.2 or SingularityCE 4.0"),
    ],
)
def test_versions_that_cannot_build_are_told(
    tmp_path: Path, stand_in: StandIn, says: str, verdict: str
) -> None:
    stand_in("apptainer", f"echo {says}")
    absent = tmp_path / "none"
    done = build_sh("image", "--offline", "--wheelhouse", absent, "--output", tmp_path)
    assert done.returncode == 2 and verdict in done.stderr
