"""The verb: what is needed follows from the campaign; lines, table, JSON and exit status."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mlipilot.cli.app import app
from mlipilot.doctor import examine as room
from mlipilot.doctor import isolation, slurm
from mlipilot.doctor.check import failed, ok
from mlipilot.errors import CheckFailedError, InputError
from mlipilot.programs import ask
from tests.conftest import StandIn

CAMPAIGN = str(Path(__file__).resolve().parents[2] / "campaigns" / "cu_emt.yaml")
ON_SLURM = ("--set", "jobs.backend=slurm")


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [*os.environ]:
        if name.startswith(("MLIPILOT_", "OPENAI_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def _doctor(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
    done = CliRunner().invoke(app, ["doctor", *arguments, "--json"])
    if isinstance(done.exception, InputError | CheckFailedError):
        return done.exception.exit_status, json.loads(done.stdout) if done.stdout else []
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, json.loads(done.stdout)


def _statuses(found: list[dict[str, Any]]) -> dict[str, str]:
    return {check["name"]: check["status"] for check in found}


def test_without_a_campaign_nothing_but_the_filesystem_is_needed(no_programs: None, tmp_path: Path) -> None:
    status, found = _doctor()
    assert status == 0
    statuses = _statuses(found)
    assert [statuses[name] for name in ("filesystem", "lock")] == ["ok", "ok"]
    assert [statuses[name] for name in ("slurm", "apptainer", "image")] == ["warning"] * 3
    assert all(check["mend"] for check in found if check["status"] == "warning")
    assert not (tmp_path / "runs").exists()


def test_a_filesystem_that_cannot_be_written_fails_even_so(no_programs: None) -> None:
    status, found = _doctor("--run-dir", "/proc/runs")
    assert (status, _statuses(found)["filesystem"]) == (1, "failed")


def test_a_local_campaign_needs_neither_slurm_nor_image(no_programs: None) -> None:
    status, found = _doctor(CAMPAIGN)
    statuses = _statuses(found)
    assert status == 0
    assert {statuses[name] for name in ("slurm", "apptainer", "gpu", "endpoint")} == {"skipped"}


@pytest.mark.parametrize(
    ("why", "settings", "status", "says"),
    [
        (None, [], "ok", "local jobs run under bubblewrap"),
        (
            "bubblewrap is not installed",
            [],
            "warning",
            "bubblewrap is not installed: the code of candidates has",
        ),
        ("it is not", ["--set", "jobs.require_no_network=true"], "failed", "it is not: the code"),
        (None, ["--set", "jobs.isolation=none"], "warning", "jobs.isolation is none: the code of candidates"),
    ],
)
def test_what_keeps_local_jobs_apart_is_said(
    monkeypatch: pytest.MonkeyPatch, why: str | None, settings: list[str], status: str, says: str
) -> None:
    monkeypatch.setattr(isolation, "why_no_sandbox", lambda: why)
    ended, found = _doctor(CAMPAIGN, *settings)
    (check,) = (check for check in found if check["name"] == "sandbox")
    assert check["status"] == status and says in check["found"] and ended == (status == "failed")


def test_a_campaign_on_slurm_needs_both(no_programs: None) -> None:
    status, found = _doctor(CAMPAIGN, *ON_SLURM)
    statuses = _statuses(found)
    assert status == 1
    assert [statuses[name] for name in ("slurm", "apptainer", "image")] == ["failed"] * 3
    assert statuses["isolation"] == "skipped"


def test_a_campaign_with_an_endpoint_needs_it(no_programs: None) -> None:
    settings = ("--set", "pilot={kind: openai, base_url: 'http://127.0.0.1:9/v1', trust_env: false}")
    status, found = _doctor(CAMPAIGN, *settings)
    assert (status, _statuses(found)["endpoint"]) == (1, "failed")


def test_a_local_campaign_on_cuda_needs_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "check_gpu_of_local_jobs", lambda: failed("gpu", "none", "buy one"))
    assert _doctor(CAMPAIGN, "--set", "jobs.device=cuda")[0] == 1
    monkeypatch.setattr(room, "check_gpu_of_local_jobs", lambda: ok("gpu", "there"))
    assert _doctor(CAMPAIGN, "--set", "jobs.device=cuda")[0] == 0


def test_a_good_cluster_is_status_0_with_its_warnings(
    stand_in: StandIn, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm is a stand-in, Apptainer and the image are real."""
    stand_in(
        "sinfo", 'if [ "$1" = --version ]; then echo slurm 23.11.1; else echo "cpu*|(null)|up|4|NO|8"; fi'
    )
    stand_in("sacct", "echo Slurm accounting storage is disabled >&2; exit 1")
    stand_in("sbatch", "exit 0")
    monkeypatch.setenv("MLIPILOT_IMAGE", str(image))
    status, found = _doctor(CAMPAIGN, *ON_SLURM)
    assert status == 0, found
    statuses = _statuses(found)
    assert statuses["accounting"] == statuses["image"] == "warning"
    assert [statuses[n] for n in ("slurm", "partition", "submit", "apptainer", "isolation")] == ["ok"] * 5


def test_a_site_without_containers(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLIPILOT_PYTHON", sys.executable)
    monkeypatch.setattr(room, "check_slurm", lambda site, jobs: iter([ok("slurm", "there")]))
    status, found = _doctor(CAMPAIGN, *ON_SLURM)
    assert status == 0 and _statuses(found)["python"] == "warning" and "image" not in _statuses(found)
    assert _doctor(CAMPAIGN, *ON_SLURM, "--set", "jobs.require_no_network=true")[0] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.yaml"], "no such file"),
        (["--profile", "smoke"], "none is given"),
        (["--set", "name=x"], "none is given"),
        ([CAMPAIGN, "--set", "jobs.bakend=slurm"], "did you mean 'backend'?"),
    ],
)
def test_bad_input_is_status_2(arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(app, ["doctor", *arguments])
    assert isinstance(done.exception, InputError) and said in str(done.exception)


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mlipilot", "doctor", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


def test_lines_for_a_log_are_plain_and_clean(stand_in: StandIn) -> None:
    stand_in("sinfo", "printf 'sinfo: \\e[2Jerror: [bold]down[/bold]\\r\\n' >&2; exit 1")
    done = _run(CAMPAIGN, *ON_SLURM)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    number = next(i for i, line in enumerate(lines) if line.startswith("FAIL  slurm: "))
    assert lines[number].endswith("sinfo: error: [bold]down[/bold]")
    assert lines[number + 1].startswith("      mend: ")
    assert lines[0].startswith(("ok    filesystem: ", "warn  filesystem: "))
    assert "\x1b" not in done.stdout
    assert done.stderr.startswith("mlipilot: not ready: slurm")


def test_a_terminal_gets_a_table_and_no_escapes_of_others(stand_in: StandIn) -> None:
    stand_in("sinfo", "printf '\\e]0;owned\\a[red]down[/red]\\n' >&2; exit 1")
    shown: list[bytes] = []

    def read(descriptor: int) -> bytes:
        data = os.read(descriptor, 4096)
        shown.append(data)
        return data

    words = [sys.executable, "-m", "mlipilot", "doctor"]
    with Path(os.devnull).open("rb") as nothing:
        saved = os.dup(0)
        os.dup2(nothing.fileno(), 0)
        try:
            status = pty.spawn(words, read, lambda descriptor: b"")
        finally:
            os.dup2(saved, 0)
            os.close(saved)
    text = b"".join(shown).decode()
    assert os.waitstatus_to_exitcode(status) == 0
    assert "[red]down[/red]" in text and "owned" not in text and "filesystem" in text and "│" in text


def test_torch_is_loaded_for_nobody() -> None:
    code = (
        "import sys, mlipilot.doctor.examine; sys.exit('torch' in sys.modules or 'requests' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_hanging_slurm_is_a_failed_check(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm, "ask", lambda argv, **kw: ask(argv, **kw | {"timeout_s": 0.3}))
    stand_in("sinfo", "sleep 30")
    status, found = _doctor(CAMPAIGN, *ON_SLURM)
    assert status == 1
    assert "sinfo did not answer within 0.3 s" in next(c["found"] for c in found if c["name"] == "slurm")
