"""The command line's manners: exit statuses, one clear message, no traceback."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from mlipilot import confidential
from mlipilot.cli.app import app, main
from mlipilot.cli.console import ConsoleObserver
from mlipilot.errors import InputError, MlipilotError, PausedError

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "campaigns/cu_emtt.yaml"], "did you mean 'campaigns/cu_emt.yaml'?"),
        (["run", "campaigns/cu_emt.yaml", "--profile", "huge"], "huge"),
        (["plan", "campaigns/cu_emt.yaml", "--set", "budget.iteratons=1"], "did you mean 'iterations'?"),
        (["status", "runs/none"], "there is no run here"),
        (["verify", "mlipilot"], "there is no run here"),
        (["data", "build", "cu_emd"], "did you mean 'cu_emt'?"),
        (["endpoint"], "mlipilot endpoint --gguf FILE"),
        (["evaluate", "nowhere", "--scorecard", "scorecards/none.yaml"], "no such file"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_wrong_input_is_one_message_and_status_2(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(sys, "argv", ["mlipilot", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_no_message_and_no_event_moves_the_cursor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> None:
        raise PausedError("HTTP \x1b[2J\x9b2J503\n  mend: wait\u202e")

    monkeypatch.setattr("mlipilot.cli.app.app", fails)
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().err == "mlipilot: HTTP 503\n  mend: wait\n"
    shown = io.StringIO()
    ConsoleObserver(Console(file=shown)).event("paused: \x1b]0;title\x07[red]down")
    assert shown.getvalue().endswith(" paused: [red]down\n") and "\x1b" not in shown.getvalue()


def test_plan_is_json_for_scripts() -> None:
    command = [sys.executable, "-m", "mlipilot", "plan", "campaigns/cu_emt.yaml", "--json"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["pilot"] == "scripted"


def test_every_verb_of_the_readme_has_help() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    verbs = sorted(set(re.findall(r"^(?:mlipilot|.*bin/mlipilot) ([a-z]+)", readme, flags=re.MULTILINE)))
    assert len(verbs) >= 11
    for verb in verbs:
        assert CliRunner().invoke(app, [verb, "--help"]).exit_code == 0, verb


KEY = "sk-Zb81qLw0TfXe37Ykd9RmUc2"


@pytest.mark.parametrize(
    "error",
    [PausedError(f"HTTP 401: {KEY}"), RuntimeError(KEY), OSError(5, KEY), InputError(KEY.upper(), file=KEY)],
)
def test_no_message_no_traceback_and_no_event_shows_the_key(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails() -> None:
        raise error

    monkeypatch.setattr(confidential, "_wanted", {})
    confidential.keep(KEY)
    monkeypatch.setattr("mlipilot.cli.app.app", fails)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == getattr(error, "exit_status", 1)
    said = capsys.readouterr().err
    assert confidential.HIDDEN in said and KEY.lower() not in said.lower()
    assert ("Traceback" in said) is not isinstance(error, MlipilotError)
    shown = io.StringIO()
    ConsoleObserver(Console(file=shown, width=200)).event(f"paused: {error}")
    assert confidential.HIDDEN in shown.getvalue() and KEY.lower() not in shown.getvalue().lower()


@pytest.mark.parametrize("host", ["http://me:pw1@h", "me:pw1@h", "h/pw1", "h?pw1", KEY])
def test_a_host_is_a_host_and_no_place_for_a_key(
    host: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["mlipilot", "endpoint", "--scripted", "--host", host])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2 and "--host is the name or the address" in said
    assert "pw1" not in said and KEY not in said
