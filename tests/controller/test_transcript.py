"""A transcript is acknowledged line by line, after a kill too."""

from __future__ import annotations

import json
from pathlib import Path

from mlipilot.audit.events import body_of
from mlipilot.audit.files import sha256_bytes
from mlipilot.audit.ledger import Ledger
from mlipilot.controller.state import replay
from mlipilot.controller.transcript import Transcript
from mlipilot.endpoint.client import Endpoint
from mlipilot.endpoint.endpoint_settings import EndpointSettings
from mlipilot.endpoint.exchange import Exchange
from mlipilot.paths import LineagePaths
from mlipilot.pilots.pilot_settings import PilotSettings
from tests.endpoint.asking import as_reply
from tests.endpoint.faulty_server import FaultyServer, json_body

PILOT = PilotSettings(
    kind="openai",
    usd_per_million_prompt_tokens=2.0,
    reviewer={"usd_per_million_completion_tokens": 10.0},
)
HI = {"content": "hi"}


def _transcript(root: Path) -> Transcript:
    lineage = LineagePaths(root)
    return Transcript(lineage, Ledger(lineage.ledger), PILOT)


def test_what_an_endpoint_does_not_count_is_estimated_and_marked(tmp_path: Path) -> None:
    transcript = _transcript(tmp_path)
    request = {"messages": [{"role": "user", "content": "x" * 300}]}
    for said in (0, 7):
        for counted in (5, 0):
            reply = as_reply(HI, usage={"prompt_tokens": counted, "completion_tokens": said})
            transcript.record(1, "reviewer", Exchange(request, reply, 1.0))
    lines = [json.loads(line) for line in transcript.path.read_text().splitlines()]
    bodies = [body_of(record.event) for record in transcript.ledger.records]
    marks = [["completion_tokens"], ["prompt_tokens", "completion_tokens"], None, ["prompt_tokens"]]
    assert [line.get("estimated") for line in lines] == [body.get("estimated") for body in bodies] == marks
    assert [body["prompt_tokens"] for body in bodies] == [5, 116, 5, 116]
    assert [body["completion_tokens"] for body in bodies] == [6, 6, 7, 7]
    assert bodies[1]["usd"] == (116 * 2 + 6 * 10) / 1e6
    state = replay(transcript.ledger.records)
    assert (state.prompt_tokens, state.completion_tokens) == (242, 26)


def test_the_greatest_numbers_of_a_reply_can_be_recorded(tmp_path: Path) -> None:
    with FaultyServer() as server:
        choice = {"message": {"content": "hi"}}
        server.answers(json_body({"choices": [choice], "usage": {"prompt_tokens": 2**53, "n": -(2**53)}}))
        settings = EndpointSettings(trust_env=False, max_retries=0)
        exchange = Endpoint(server.base_url, "m", None, settings).complete([], [])
    _transcript(tmp_path).record(1, "reviewer", exchange)
    assert [record.event.kind for record in _transcript(tmp_path).ledger.records] == ["exchange"]


def test_exchanges_that_a_kill_left_unacknowledged_are_taken_up(tmp_path: Path) -> None:
    transcript = _transcript(tmp_path)
    reply = as_reply(HI, usage={"prompt_tokens": 5, "completion_tokens": 2})
    exchange = Exchange(request={"messages": []}, reply=reply, duration_s=1)
    transcript.record(1, "reviewer", exchange)
    line = transcript.path.read_text()
    with transcript.path.open("a") as stream:
        stream.write(line + '{"torn": ')  # written, not acknowledged; then a torn one
    again = _transcript(tmp_path)
    again.recover()
    exchanges = [body_of(r.event) for r in again.ledger.records if r.event.kind == "exchange"]
    assert [(body["line"], body["role"]) for body in exchanges] == [(1, "reviewer"), (2, "reviewer")]
    assert [body["usd"] for body in exchanges] == [(5 * 2 + 2 * 10) / 1e6] * 2
    assert {body["sha256"] for body in exchanges} == {sha256_bytes(line.rstrip("\n").encode())}
    tokens = [json.loads(text)["prompt_tokens"] for text in again.path.read_text().splitlines()]
    assert tokens == [5, 5]
    again.recover()
    assert sum(r.event.kind == "exchange" for r in again.ledger.records) == 2
