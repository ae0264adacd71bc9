"""The image's identity, and what a real container is kept from, with the isolation whole and weakened."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mlipilot.doctor.apptainer import check_apptainer, check_image, check_python
from mlipilot.doctor.check import Check
from mlipilot.doctor.isolation import check_isolation
from tests.conftest import StandIn
from tests.doctor.conftest import SiteOf

DIGEST = hashlib.sha256(b"an image").hexdigest()
# A site whose Apptainer has another mind: it leaves out what the pattern names, then runs the real one.
WEAKENED = """
words=()
for word in "$@"; do
  case $word in {dropped}) ;; *) words+=("${{word%{suffix}}}") ;; esac
done
exec {apptainer} "${{words[@]}}"
"""


@pytest.fixture
def sif(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    path = tmp_path / "images" / "mlipilot-cpu.sif"
    path.write_bytes(b"an image")
    return path


def _labelled(stand_in: StandIn, **labels: str) -> None:
    said = json.dumps({"data": {"attributes": {"labels": labels}}})
    stand_in("apptainer", f"echo '{said}'")


def _lock(sif: Path, digest: str) -> None:
    other = f"other:\n  file: other.sif\n  sif_sha256: {'0' * 64}\n"
    this = f"mlipilot-cpu:\n  file: {sif.name}\n  variant: cpu\n  sif_sha256: {digest}\n"
    (sif.parent / "images.lock").write_text(f"# by build.sh\n{other}{this}")


def test_apptainers_version(stand_in: StandIn, site_of: SiteOf) -> None:
    stand_in("apptainer", "echo apptainer version 1.4.5")
    assert check_apptainer(site_of()).found == "1.4.5"


def test_singularityce_does_instead_from_the_version_on_that_has_what_jobs_need(
    stand_in: StandIn, site_of: SiteOf, path_without: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = os.environ["PATH"].split(":")[0]
    monkeypatch.setenv("PATH", path_without("apptainer", "singularity"))
    assert check_apptainer(site_of()).status == "failed"
    monkeypatch.setenv("PATH", f"{mine}:{os.environ['PATH']}")
    for version, status in (
        ("singularity-ce version 4.1.2-jammy", "ok"),
        ("singularity version 3.8.7", "failed"),
    ):
        stand_in("singularity", f"echo {version}")
        found = check_apptainer(site_of())
        assert (found.status, found.found) == (status, version)
        assert status == "ok" or "SingularityCE 3.11 or later" in found.mend


def test_no_apptainer_names_the_module(no_programs: None, site_of: SiteOf) -> None:
    found = check_apptainer(site_of(MODULES="apptainer/1.4"))
    assert found.status == "failed" and "module load apptainer/1.4" in found.mend


def test_an_image_as_its_builder_and_its_run_recorded_it(
    stand_in: StandIn, sif: Path, tmp_path: Path
) -> None:
    _labelled(stand_in, **{"mlipilot.version": "0.1.0", "mlipilot.variant": "cpu"})
    _lock(sif, DIGEST)
    (tmp_path / "image.sha256").write_text(f"{DIGEST}\n")
    found = check_image(sif, tmp_path, needs_cuda=False)
    assert found.status == "ok" and DIGEST in found.found
    assert "images.lock" in found.found and "image.sha256" in found.found and "0.1.0 (cpu)" in found.found


def test_a_changed_image_fails(stand_in: StandIn, sif: Path) -> None:
    _lock(sif, "1" * 64)
    found = check_image(sif, None, needs_cuda=False)
    assert found.status == "failed" and "1" * 64 in found.found and "build it again" in found.mend


def test_another_image_than_the_runs_fails(stand_in: StandIn, sif: Path, tmp_path: Path) -> None:
    _lock(sif, DIGEST)
    (tmp_path / "image.sha256").write_text("2" * 64)
    found = check_image(sif, tmp_path, needs_cuda=False)
    assert found.status == "failed" and "2" * 64 in found.found and "MLIPILOT_IMAGE" in found.mend


def test_no_image_says_how_to_build_one(tmp_path: Path) -> None:
    found = check_image(tmp_path / "none.sif", None, needs_cuda=True)
    assert found.status == "failed" and "containers/build.sh image cuda" in found.mend


def test_an_image_for_processors_does_not_do_for_cuda(stand_in: StandIn, sif: Path) -> None:
    _labelled(stand_in, **{"mlipilot.version": "0.1.0", "mlipilot.variant": "cpu"})
    assert check_image(sif, None, needs_cuda=True).status == "failed"
    assert check_image(sif, None, needs_cuda=False).status == "ok"


def test_an_image_of_something_else_is_a_warning(stand_in: StandIn, sif: Path) -> None:
    _labelled(stand_in, maintainer="somebody")
    assert check_image(sif, None, needs_cuda=False).status == "warning"


def test_a_damaged_record_fails(sif: Path) -> None:
    (sif.parent / "images.lock").write_text("a: [")
    found = check_image(sif, None, needs_cuda=False)
    assert found.status == "failed" and "not YAML" in found.found


def test_jobs_without_a_container_are_a_warning(stand_in: StandIn) -> None:
    stand_in("standin-python", 'test "$2" = "import mlipilot.jobs.worker"')
    assert check_python("standin-python", needs_isolation=False).status == "warning"
    assert check_python("standin-python", needs_isolation=True).status == "failed"
    stand_in("standin-python", "echo ModuleNotFoundError >&2; exit 1")
    found = check_python("standin-python", needs_isolation=False)
    assert found.status == "failed" and "ModuleNotFoundError" in found.found


def _isolation(image: Path, runs: Path, *, strict: bool = False, may_leak: bool = False) -> dict[str, Check]:
    runs.mkdir(exist_ok=True)
    checks = check_isolation(image, runs, require_no_network=strict, may_leak=may_leak)
    found = {check.name: check for check in checks}
    assert list(runs.iterdir()) == []  # nothing is left behind
    return found


def _weaken(stand_in: StandIn, dropped: str, suffix: str = "") -> None:
    script = WEAKENED.format(dropped=dropped, suffix=suffix, apptainer=shutil.which("apptainer"))
    stand_in("apptainer", script)


def test_a_real_container_is_kept_apart(image: Path, tmp_path: Path) -> None:
    found = _isolation(image, tmp_path / "runs")
    assert found["isolation"].status == "ok", found
    assert found["network"].status == "ok", found


def test_a_real_container_without_its_flags_is_found_out(
    image: Path, tmp_path: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    _weaken(stand_in, "--containall|--cleanenv|--no-home|--no-mount|home,cwd,hostfs,bind-paths", ":ro")
    found = _isolation(image, tmp_path / "runs")["isolation"]
    assert found.status == "failed"
    for fault in (
        "not bound",
        "home directory",
        "environment",
        "processes",
        "read-only bind",
        "mount /dev (",
    ):
        assert fault in found.found
    assert "variable MLIPILOT_DOCTOR" not in found.found  # measured in an environment without it
    assert _isolation(image, tmp_path / "runs", may_leak=True)["isolation"].status == "warning"


def test_a_weak_bind_alone_is_found_out(image: Path, tmp_path: Path, stand_in: StandIn) -> None:
    _weaken(stand_in, "no-such-word", ":ro")
    found = _isolation(image, tmp_path / "runs")["isolation"]
    assert "do not hold: a read-only bind can be written; mount " in found.found
    assert found.found.endswith("writable), bound to be read only")


def test_a_mount_that_a_site_adds_is_found_out_as_before_each_job(
    image: Path, tmp_path: Path, stand_in: StandIn
) -> None:
    (tmp_path / "srv").mkdir()
    stand_in("apptainer", f'exec {shutil.which("apptainer")} "$1" exec --bind {tmp_path}/srv "${{@:3}}"')
    found = _isolation(image, tmp_path / "runs")["isolation"]
    assert found.status == "failed" and f"mount {tmp_path}/srv (" in found.found


def test_what_jobs_take_out_of_the_environment_is_no_fault(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("APPTAINER_BIND", "SINGULARITY_BIND"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("APPTAINERENV_TOKEN", "x")
    assert _isolation(image, tmp_path / "runs")["isolation"].status == "ok"


@pytest.mark.parametrize(("strict", "status"), [(False, "warning"), (True, "failed")])
def test_a_network_that_is_not_cut_off_is_found_out(
    image: Path, tmp_path: Path, stand_in: StandIn, strict: bool, status: str
) -> None:
    _weaken(stand_in, "--net|--network|none|--security|seccomp:*")
    found = _isolation(image, tmp_path / "runs", strict=strict)
    assert found["isolation"].status == "ok"
    assert found["network"].status == status and "in spite of" in found["network"].found


@pytest.mark.parametrize(("strict", "status"), [(False, "warning"), (True, "failed")])
def test_a_site_without_network_namespaces(
    image: Path, tmp_path: Path, stand_in: StandIn, strict: bool, status: str
) -> None:
    refusal = (
        'for word in "$@"; do case $word in --net | --security) '
        'echo "FATAL: no namespaces" >&2; exit 255 ;; esac; done'
    )
    stand_in("apptainer", f'{refusal}\nexec {shutil.which("apptainer")} "$@"')
    found = _isolation(image, tmp_path / "runs", strict=strict)
    assert found["isolation"].status == "ok"
    assert found["network"].status == status and "FATAL: no namespaces" in found["network"].found


def test_a_site_without_network_namespaces_has_a_filter(
    image: Path, tmp_path: Path, stand_in: StandIn
) -> None:
    refusal = 'case "$*" in *--net*) echo "FATAL: no namespaces" >&2; exit 255 ;; esac'
    stand_in("apptainer", f'{refusal}\nexec {shutil.which("apptainer")} "$@"')
    found = _isolation(image, tmp_path / "runs", strict=True)
    assert found["isolation"].status == found["network"].status == "ok"
    assert "FATAL: no namespaces" in found["network"].found and "no socket" in found["network"].found


@pytest.mark.parametrize(
    ("script", "said", "mend"),
    [
        ("echo 'FATAL: no user namespaces' >&2; exit 255", "no user namespaces", "user.max_user_namespaces"),
        (
            "printf 'Error: unknown flag: --no-eval\\n\\nUsage\\n a\\n b\\n' >&2; exit 1",
            "--no-eval",
            "too old",
        ),
        ("echo probe file=hidden", "file=hidden", "apptainer exec"),
    ],
)
def test_a_container_that_does_not_start_fails(
    tmp_path: Path, stand_in: StandIn, script: str, said: str, mend: str
) -> None:
    stand_in("apptainer", script)
    found = _isolation(tmp_path / "any.sif", tmp_path / "runs")
    assert list(found) == ["isolation"]
    assert found["isolation"].status == "failed"
    assert said in found["isolation"].found and mend in found["isolation"].mend


def test_a_run_whose_path_cannot_be_bound_fails(tmp_path: Path) -> None:
    found = _isolation(tmp_path / "any.sif", tmp_path / "a,b")["isolation"]
    assert found.status == "failed" and "cannot be bound" in found.found
