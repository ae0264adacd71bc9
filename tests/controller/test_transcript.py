"""A transcript is acknowledged line by line, after a kill too."""

from __future__ import annotations

import json
from pathlib import Path

from mlipilot.audit.files import sha256_bytes
from mlipilot.audit.ledger import Ledger
from mlipilot.campaign.paths import LineagePaths
from mlipilot.controller.transcript import Transcript
from mlipilot.pilots.settings import PilotSettings
from mlipilot.pilots.turn import Exchange

PILOT = PilotSettings(
    kind="openai",
    usd_per_million_prompt_tokens=2.0,
    reviewer={"usd_per_million_completion_tokens": 10.0},
)
REPLY = {"choices": [{"message": {"content": "hi"}}]}


def _transcript(root: Path) -> Transcript:
    lineage = LineagePaths(root)
    return Transcript(lineage, Ledger(lineage.ledger), PILOT)


def test_exchanges_that_a_kill_left_unacknowledged_are_taken_up(tmp_path: Path) -> None:
    transcript = _transcript(tmp_path)
    exchange = Exchange(
        request={"messages": []}, reply=REPLY, prompt_tokens=5, completion_tokens=2, duration_s=1
    )
    transcript.record(1, "reviewer", exchange)
    line = transcript.path.read_text()
    with transcript.path.open("a") as stream:
        stream.write(line + '{"torn": ')  # written, not acknowledged; then a torn one
    again = _transcript(tmp_path)
    again.recover()
    exchanges = [r.body for r in again.ledger.records if r.kind == "exchange"]
    assert [(body["line"], body["role"]) for body in exchanges] == [(1, "reviewer"), (2, "reviewer")]
    assert [body["usd"] for body in exchanges] == [(5 * 2 + 2 * 10) / 1e6] * 2
    assert {body["sha256"] for body in exchanges} == {sha256_bytes(line.rstrip("\n").encode())}
    tokens = [json.loads(text)["prompt_tokens"] for text in again.path.read_text().splitlines()]
    assert tokens == [5, 5]
    again.recover()
    assert sum(r.kind == "exchange" for r in again.ledger.records) == 2
