"""The CPU image, really built from the wheelhouse without a network, and what is refused before and after."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.containers.image import (
    IMAGE,
    LOCK,
    NAME,
    REPOSITORY,
    build_sh,
    built_image,
    entries,
    need_apptainer,
    sha256_of,
    wheelhouse,
)
from tests.containers.test_sbom import check_bill

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("image")]


def _apptainer(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["apptainer", *map(str, arguments)], capture_output=True, text=True, check=False)


def _inside(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the image as jobs run: nothing of the host, no network."""
    isolation = ["--containall", "--cleanenv", "--no-home", "--net", "--network", "none"]
    return _apptainer("exec", *isolation, built_image(), *command)


def _flip_byte(path: Path, position: int) -> None:
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 1]))


@pytest.fixture
def small_image(tmp_path: Path) -> Path:
    """A folder with a SIF that holds next to nothing, under the image's name, and its images.lock."""
    need_apptainer()
    (tmp_path / "tree" / "bin").mkdir(parents=True)
    (tmp_path / "tree" / "bin" / "filler").write_bytes(random.Random(0).randbytes(1 << 20))
    built = _apptainer("build", tmp_path / IMAGE, tmp_path / "tree")
    assert built.returncode == 0, built.stderr
    (tmp_path / "images.lock").write_text(
        f"{NAME}:\n  file: {IMAGE}\n  sif_sha256: {sha256_of(tmp_path / IMAGE)}\n"
        f"mlipilot-cuda:\n  file: mlipilot-cuda.sif\n  sif_sha256: {'0' * 64}\n"
    )
    return tmp_path


@pytest.fixture
def own_wheelhouse(tmp_path: Path) -> Path:
    """The wheelhouse once more, to be spoilt: links, but for SHA256SUMS and one wheel."""
    folder = tmp_path / "wheelhouse"
    folder.mkdir()
    for file in wheelhouse().iterdir():
        (folder / file.name).symlink_to(file)
    for name in ("SHA256SUMS", _small_wheel(folder).name):
        (folder / name).unlink()
        shutil.copy(wheelhouse() / name, folder)
    return folder


def _small_wheel(folder: Path) -> Path:
    return next(folder.glob("rfc8785-*.whl"))


# -- the image --------------------------------------------------------------------------------------


def test_it_passes_its_own_test() -> None:
    tested = _apptainer("test", built_image())
    assert tested.returncode == 0, tested.stderr


def test_images_lock_tells_the_truth(entry: dict[str, Any]) -> None:
    assert entry["file"] == IMAGE
    assert entry["sif_sha256"] == sha256_of(built_image())
    assert entry["size_bytes"] == built_image().stat().st_size
    assert entry["lock_digest"] == f"sha256:{sha256_of(LOCK)}"
    assert entry["base_digest"] == f"sha256:{sha256_of(wheelhouse() / 'base.tar.gz')}"
    assert entry["wheelhouse_digest"] == f"sha256:{sha256_of(wheelhouse() / 'SHA256SUMS')}"
    assert entry["apptainer_version"] == _apptainer("version").stdout.strip()


def test_the_labels_say_what_images_lock_says(entry: dict[str, Any]) -> None:
    client = pytest.importorskip("spython.main", reason="spython is not installed").Client
    if shutil.which("singularity") is None:
        pytest.skip("spython calls Apptainer `singularity`, and no such link is on the PATH")
    labels = client.inspect(str(built_image()))["attributes"]["labels"]
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert labels["mlipilot.version"] == entry["version"] == project["version"]
    assert labels["org.label-schema.build-date"] == "Thursday_1_January_1970_0:0:0_UTC"
    for field in ("variant", "base_digest", "lock_digest", "sbom_digest", "source_digest", "source_git_tree"):
        assert labels[f"mlipilot.{field.replace('_', '-')}"] == entry[field]


def test_it_has_what_jobs_and_people_look_for() -> None:
    for file in ("bin/python", "bin/mlipilot", "share/campaigns/cu_emt.yaml", "share/scorecards/cu_emt.yaml"):
        assert _inside("test", "-e", f"/opt/mlipilot/{file}").returncode == 0, file
    ran = _apptainer(
        "run", "--containall", built_image(), "plan", "/opt/mlipilot/share/campaigns/cu_emt.yaml"
    )
    assert ran.returncode == 0, ran.stderr


def test_the_toolkit_is_installed_compiled_and_alone() -> None:
    """No source tree, no writable place, no package of the host's, bytecode for every package."""
    code = (
        "import json, sys, mlipilot, torch, ase, pathlib;"
        "print(json.dumps([sys.path[1:], mlipilot.__file__,"
        "[pathlib.Path(m.__cached__).is_file() for m in (mlipilot, torch, ase, json)]]))"
    )
    ran = _inside("python", "-c", code)
    assert ran.returncode == 0, ran.stderr
    path, where, compiled = json.loads(ran.stdout)
    assert where.startswith("/opt/mlipilot/lib/python3.11/site-packages/")
    assert all(entry.startswith(("/opt/mlipilot/", "/usr/lib/python3")) for entry in path), path
    assert compiled == [True] * 4
    assert _inside("touch", "/opt/mlipilot/touched").returncode != 0
    assert _inside("test", "-e", "/opt/source").returncode != 0


def test_python_never_looks_for_the_times_of_its_sources() -> None:
    """They are all zero there; bytecode that went by them would be compiled again at each start."""
    code = (
        "import pathlib, sys; print([str(file) for place in sys.path[1:] if pathlib.Path(place).is_dir()"
        " for file in pathlib.Path(place).rglob('*.pyc') if file.read_bytes()[4] != 1])"
    )
    ran = _inside("python", "-c", code)
    assert (ran.returncode, ran.stdout.strip()) == (0, "[]"), ran.stderr


def test_its_bill_of_materials_is_in_it_and_beside_it(entry: dict[str, Any]) -> None:
    beside = built_image().with_name(entry["sbom_file"])
    assert entry["sbom_digest"] == f"sha256:{sha256_of(beside)}"
    assert _inside("cat", "/opt/mlipilot/share/sbom.cdx.json").stdout == beside.read_text()
    bill = json.loads(beside.read_text())
    check_bill(bill)
    assert bill["metadata"]["properties"][0]["value"] == entry["lock_digest"]
    versions: dict[str, dict[str, str]] = {"pypi": {}, "deb": {}}
    for component in bill["components"]:
        kind = component["purl"].removeprefix("pkg:").partition("/")[0]
        versions[kind][component["name"]] = component["version"]
    listed = json.loads(_inside("python", "-m", "pip", "list", "--format=json").stdout)
    installed = {re.sub(r"[-_.]+", "-", package["name"]).lower(): package["version"] for package in listed}
    assert installed.pop("mlipilot") == bill["metadata"]["component"]["version"]
    assert installed == versions["pypi"]
    packages = _inside("dpkg-query", "-W", "-f", "${Package} ${Version}\\n").stdout.split()
    assert dict(zip(packages[::2], packages[1::2], strict=True)) == versions["deb"]


def test_build_sh_verifies_it(entry: dict[str, Any]) -> None:
    done = build_sh("verify", "--output", built_image().parent)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(
    "MLIPILOT_TEST_IMAGE" in os.environ, reason="MLIPILOT_TEST_IMAGE names an image of your own"
)
def test_an_image_is_built_again_only_when_its_sources_changed(entry: dict[str, Any]) -> None:
    """They do not change during a test, unless somebody edits them; then the image must follow."""
    folder, before = built_image().parent, built_image().stat()
    done = build_sh("image", "cpu", "--offline", "--wheelhouse", wheelhouse(), "--output", folder)
    assert done.returncode == 0, done.stderr
    same_sources = entries(folder)[NAME]["source_digest"] == entry["source_digest"]
    assert (built_image().stat().st_ino == before.st_ino) == same_sources


# -- what is refused --------------------------------------------------------------------------------


def test_a_flipped_byte_in_the_sif_is_refused(small_image: Path) -> None:
    assert build_sh("verify", "cpu", "--output", small_image).returncode == 0
    _flip_byte(small_image / IMAGE, (small_image / IMAGE).stat().st_size // 2)
    refused = build_sh("verify", "cpu", "--output", small_image)
    assert refused.returncode == 1 and str(small_image / IMAGE) in refused.stderr


def _refused_image(folder: Path, output: Path) -> str:
    need_apptainer()
    done = build_sh("image", "cpu", "--offline", "--wheelhouse", folder, "--output", output, offline=True)
    assert done.returncode == 1, done.stderr
    assert not list(output.glob("*.sif"))
    return done.stderr


def test_a_flipped_byte_in_a_wheel_is_refused(own_wheelhouse: Path, tmp_path: Path) -> None:
    wheel = _small_wheel(own_wheelhouse)
    _flip_byte(wheel, 1000)
    assert wheel.name in _refused_image(own_wheelhouse, tmp_path / "out")


def test_a_wheel_that_only_sha256sums_knows_is_refused(own_wheelhouse: Path, tmp_path: Path) -> None:
    """Whoever changes a wheel may change SHA256SUMS too, but not the repository's lock file."""
    wheel, sums = _small_wheel(own_wheelhouse), own_wheelhouse / "SHA256SUMS"
    before = sha256_of(wheel)
    _flip_byte(wheel, 1000)
    sums.write_text(sums.read_text().replace(before, sha256_of(wheel)))
    assert wheel.name in _refused_image(own_wheelhouse, tmp_path / "out")


def test_a_wheel_beside_the_listed_ones_is_refused(own_wheelhouse: Path, tmp_path: Path) -> None:
    (own_wheelhouse / "guest-1.0-py3-none-any.whl").write_bytes(b"PK")
    assert "guest-1.0-py3-none-any.whl" in _refused_image(own_wheelhouse, tmp_path / "out")


def test_a_wheelhouse_of_another_lock_file_is_refused(own_wheelhouse: Path, tmp_path: Path) -> None:
    copy, sums = own_wheelhouse / "requirements.lock", own_wheelhouse / "SHA256SUMS"
    before = sha256_of(copy)
    text = copy.read_text().replace("ase==3.29.0", "ase==3.28.0")
    copy.unlink()
    copy.write_text(text)
    sums.write_text(sums.read_text().replace(before, sha256_of(copy)))
    assert "another lock file" in _refused_image(own_wheelhouse, tmp_path / "out")


def test_offline_fetches_no_wheelhouse(tmp_path: Path) -> None:
    need_apptainer()
    done = build_sh("image", "--offline", "--wheelhouse", tmp_path / "none", "--output", tmp_path)
    assert done.returncode == 2 and str(tmp_path / "none") in done.stderr


# -- signatures -------------------------------------------------------------------------------------


def _key_pair(folder: Path, name: str) -> tuple[Path, Path]:
    private, public = folder / f"{name}.pem", folder / f"{name}-public.pem"
    kind = ["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]
    subprocess.run(["openssl", "genpkey", *kind, "-out", private], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True)
    return private, public


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed: no keys")
def test_a_signature_is_checked_when_a_key_is_configured(
    small_image: Path, monkeypatch: pytest.MonkeyPatch, path_without: Callable[..., str]
) -> None:
    private, public = _key_pair(small_image, "site")
    _, stranger = _key_pair(small_image, "stranger")
    unsigned = sha256_of(small_image / IMAGE)
    assert build_sh("verify", public, "--output", small_image).returncode == 1, "not signed yet"
    signed = build_sh("sign", private, "--output", small_image)
    assert signed.returncode == 0, signed.stderr
    found = entries(small_image)
    assert found[NAME]["signed"] is True
    assert found[NAME]["sif_sha256"] == sha256_of(small_image / IMAGE) != unsigned
    assert found["mlipilot-cuda"]["file"] == "mlipilot-cuda.sif", "another image's entry stays"

    assert build_sh("verify", public, "--output", small_image).returncode == 0
    monkeypatch.setenv("PATH", path_without("apptainer"))  # a host that calls it `singularity`
    assert build_sh("verify", public, "--output", small_image).returncode == 0
    monkeypatch.setenv("MLIPILOT_PUBLIC_KEY", str(stranger))
    assert build_sh("verify", "--output", small_image).returncode == 1
    monkeypatch.setenv("MLIPILOT_PUBLIC_KEY", str(public))
    assert build_sh("verify", "--output", small_image).returncode == 0
