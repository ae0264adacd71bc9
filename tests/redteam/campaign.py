"""A campaign of attacks, and what came of each."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from socket import create_server

import pytest

from mlipilot.controller.verification import verify_run
from mlipilot.paths import RunPaths
from tests.end_to_end.slurm_runs import state_of
from tests.end_to_end.villain import Candidate, villain
from tests.redteam.attacks import HEAD, Attack

KEY = "sk-a-secret-of-the-pilot"


@contextmanager
def attacking(attacks: Sequence[Attack]) -> Iterator[str]:
    """The base URL of an endpoint that proposes them one after the other.

    What they look for on the host is there, and is left alone.
    """
    bystander = subprocess.Popen(["sleep", "3600"])
    try:
        with create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            told = {"PORT": str(listener.getsockname()[1]), "BYSTANDER": str(bystander.pid)}
            with villain(
                [Candidate(attack.name, {"train.py": _recipe(attack, told)}) for attack in attacks]
            ) as url:
                yield url
            with pytest.raises(BlockingIOError):
                listener.accept()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def _recipe(attack: Attack, told: Mapping[str, str]) -> str:
    code = attack.code
    for word, meant in told.items():
        code = code.replace(word, meant)
    return HEAD + code


def check_verdicts(run: RunPaths, attacks: Sequence[Attack]) -> None:
    """Each is invalid with its reason, the baseline stands, the run verifies and tells no key."""
    state = state_of(run)
    assert state.incumbent == 0
    wrong = []
    for attack, iteration in zip(attacks, state.iterations[1:], strict=True):
        verdict = iteration.verdict
        if verdict is None or verdict.verdict != "invalid" or not re.search(attack.reason, verdict.reason):
            wrong.append(f"{attack.name}: {verdict.reason if verdict else iteration.no_proposal}")
    assert wrong == [], "\n".join(wrong)
    assert {attempt.outcome for found in state.jobs.values() for attempt in found} <= {
        "ok",
        "failed",
        "time_limit",
    }
    assert verify_run(run).problems == []
    report = run.report_html.read_text()
    assert "<script>alert" not in report and "\x1b" not in report
    files = [path for path in run.root.rglob("*") if path.is_file()]
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
