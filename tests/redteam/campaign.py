"""A campaign of attacks, and what came of each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from socket import create_server

from mlipilot.controller.verification import verify_run
from mlipilot.paths import RunPaths
from tests.end_to_end.slurm_runs import state_of
from tests.end_to_end.villain import Candidate, villain
from tests.redteam.attacks import Attack

KEY = "sk-a-secret-of-the-pilot"


@contextmanager
def attacking(attacks: Sequence[Attack]) -> Iterator[str]:
    """The base URL of an endpoint that proposes them one after the other."""
    with create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        port: int = listener.getsockname()[1]
        with villain(
            [Candidate(attack.name, {"train.py": attack.train_py(port)}) for attack in attacks]
        ) as url:
            yield url


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
