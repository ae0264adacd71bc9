"""The wheelhouse behind a mirror of the package index: a real pip, and a loopback server with one wheel."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import ssl
import subprocess
import sys
import threading
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import StandIn
from tests.containers.image import CONTAINERS, REPOSITORY
from tests.wheels import lock_entry, write_wheel

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("mirrors")]  # six real pips, one environment
NAME = "mlipilot_mirror_probe"  # which no index has
WHEEL = f"{NAME}-1.0-py3-none-any.whl"


class Mirror:
    """An index that has a wheel, and a copy of the scripts whose lock files name that wheel alone."""

    def __init__(self, root: Path, *, certificate: Path | None = None) -> None:
        self.asked: list[str] = []
        self.root, self.home = root, root / "home"
        self.home.mkdir()
        folder = root / "index" / "simple" / NAME.replace("_", "-")
        folder.mkdir(parents=True)
        wheel = write_wheel(folder, NAME)
        (folder / "index.html").write_text(f'<a href="{WHEEL}">{WHEEL}</a>')
        for part in ("containers", "sbatch"):
            shutil.copytree(
                REPOSITORY / part, root / part, ignore=shutil.ignore_patterns("wheelhouse-*", "*.sif")
            )
        for lock, text in (("cpu", lock_entry(wheel)), ("build", "")):
            (root / CONTAINERS.name / f"requirements-{lock}.lock").write_text(text)
        handler = functools.partial(_handler(self.asked), directory=str(root / "index"))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.address = f"{'https' if certificate else 'http'}://127.0.0.1:{self.server.server_port}/simple"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def make_wheelhouse(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """`build.sh wheelhouse` by a user who has nothing but `environment`; the base is a stand-in."""
        told = {"HOME": str(self.home), "PATH": os.environ["PATH"], "PIP_CONFIG_FILE": os.devnull}
        told |= {"MLIPILOT_PYTHON": "standin-python", "PIP_RETRIES": "0"}
        return subprocess.run(
            ["bash", str(self.root / "containers" / "build.sh"), "wheelhouse", "cpu"],
            env=told | environment,
            capture_output=True,
            text=True,
        )

    def has_served(self) -> bool:
        return any(WHEEL in path for path in self.asked)


def _handler(asked: list[str]) -> type[http.server.SimpleHTTPRequestHandler]:
    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            asked.append(self.path)

    return Handler


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with a real pip, which takes seconds to make."""
    venv.create(made := tmp_path_factory.mktemp("python") / "venv", with_pip=True)
    return made


@pytest.fixture
def base(stand_in: StandIn, environment: Path) -> None:
    """Debian is not what is asked for here, nor is how a Python makes an environment."""
    stand_in("mmdebstrap", 'for word; do case $word in *.tar.gz) tar -czf "$word" -T /dev/null ;; esac; done')
    python = getattr(sys, "_base_executable", sys.executable)
    copies = f'if [ "$1 $2" = "-m venv" ]; then exec cp -a "{environment}" "$3"; fi'
    stand_in("standin-python", f'{copies}\nexec "{python}" "$@"')


@pytest.fixture
def mirror(tmp_path: Path, base: None) -> Iterator[Mirror]:
    mirror = Mirror(tmp_path)
    yield mirror
    mirror.server.shutdown()


@pytest.mark.parametrize("variable", ["PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"])
def test_a_mirror_of_the_environment(mirror: Mirror, variable: str) -> None:
    indices = {"PIP_INDEX_URL": "http://127.0.0.1:9/nobody", variable: mirror.address}
    done = mirror.make_wheelhouse(**indices, PIP_NO_INDEX="")
    assert done.returncode == 0, done.stderr
    assert mirror.has_served() and (mirror.root / "containers" / "wheelhouse-cpu" / WHEEL).is_file()


def test_a_mirror_of_the_users_pip_conf(mirror: Mirror) -> None:
    (mirror.home / ".config" / "pip").mkdir(parents=True)
    (mirror.home / ".config" / "pip" / "pip.conf").write_text(f"[global]\nindex-url = {mirror.address}\n")
    done = mirror.make_wheelhouse(PIP_CONFIG_FILE="")
    assert done.returncode == 0, done.stderr
    assert mirror.has_served()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed: no certificate")
def test_a_mirror_with_a_certificate_of_the_sites_own(tmp_path: Path, base: None) -> None:
    key, site, both = (tmp_path / f"{name}.pem" for name in ("key", "site", "both"))
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    make: list[str | Path] = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        *names,
        "-keyout",
        key,
        "-out",
        site,
    ]
    subprocess.run(make, check=True, capture_output=True)
    both.write_text(key.read_text() + site.read_text())
    mirror = Mirror(tmp_path, certificate=both)
    try:
        refused = mirror.make_wheelhouse(PIP_INDEX_URL=mirror.address)
        assert refused.returncode == 2 and "PIP_CERT" in refused.stderr and not mirror.has_served()
        done = mirror.make_wheelhouse(PIP_INDEX_URL=mirror.address, PIP_CERT=str(site))
        assert done.returncode == 0, done.stderr
        assert mirror.has_served()
    finally:
        mirror.server.shutdown()


def test_where_no_index_has_it_the_settings_of_a_mirror_are_named(mirror: Mirror) -> None:
    done = mirror.make_wheelhouse(PIP_NO_INDEX="1")
    assert done.returncode == 2
    assert "PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS or pip.conf" in done.stderr
    assert not (mirror.root / "containers" / "wheelhouse-cpu").exists()


def test_a_user_whom_mmdebstrap_serves_nothing_is_told_the_other_ways(
    mirror: Mirror, stand_in: StandIn
) -> None:
    """As without a line in /etc/subuid."""
    stand_in("mmdebstrap", "echo 'E: unable to pick chroot mode automatically' >&2; exit 1")
    done = mirror.make_wheelhouse(PIP_INDEX_URL=mirror.address)
    assert done.returncode == 2 and "unable to pick chroot mode" in done.stderr
    assert "in /etc/subuid and /etc/subgid, fakechroot or proot" in done.stderr and "--base" in done.stderr
