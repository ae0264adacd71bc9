"""An endpoint is probed once for an address and a model; the ledger remembers, also what was learnt later."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mlipilot.audit.events import body_of
from mlipilot.audit.events.proposing import EndpointProbed
from mlipilot.audit.ledger import Ledger
from mlipilot.controller.endpoint_memory import LedgerMemory
from mlipilot.controller.state import State, replay
from mlipilot.endpoint.client import Endpoint
from mlipilot.endpoint.endpoint_settings import EndpointSettings
from mlipilot.endpoint.opening import open_endpoint
from mlipilot.endpoint.trial import TRIAL_MESSAGES, TRIAL_TOOLS
from tests.endpoint.dialect_server import DIALECTS, NO_TOOL_PARSER, able, counted
from tests.endpoint.faulty_server import FaultyServer

CALL = {"colour": "blue"}
NATIVE = able(native=counted(90, **DIALECTS["native"]("report_colour", CALL)))
CONSTRAINED = counted(80, **DIALECTS["constrained JSON"]("report_colour", CALL))
KEY = "sk-very-secret-key"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with FaultyServer() as running:
        running.answers(NATIVE)
        yield running


def settings_of(server: FaultyServer, model: str = "m") -> EndpointSettings:
    return EndpointSettings(
        base_url=server.base_url, model=model, trust_env=False, max_retries=0, backoff_s=0
    )


def opened(settings: EndpointSettings, path: Path) -> Endpoint:
    return open_endpoint(settings, memory=LedgerMemory(Ledger(path), settings))


def state_of(path: Path) -> State:
    return replay(Ledger(path).records)


def test_a_resumed_run_does_not_probe_again(server: FaultyServer, tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    first = opened(settings_of(server), path)
    assert len(server.requests) == 1
    looks = len(server.looks)
    again = opened(settings_of(server), path)
    assert again.abilities == first.abilities
    assert (len(server.requests), len(server.looks)) == (1, looks)
    assert (state_of(path).prompt_tokens, state_of(path).completion_tokens) == (90, 3)


def test_what_a_probe_costs_is_counted(server: FaultyServer, tmp_path: Path) -> None:
    prices = {"usd_per_million_prompt_tokens": 2e4, "usd_per_million_completion_tokens": 1e6}
    opened(settings_of(server).model_copy(update=prices), tmp_path / "ledger.jsonl")
    assert state_of(tmp_path / "ledger.jsonl").usd == pytest.approx(90 * 0.02 + 3 * 1.0)


def test_another_model_or_address_is_probed(server: FaultyServer, tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    opened(settings_of(server), path)
    opened(settings_of(server, "other"), path)
    assert len(server.requests) == 2
    with FaultyServer() as moved:
        moved.answers(NATIVE)
        opened(settings_of(moved), path)
        assert len(moved.requests) == 1
    assert len(state_of(path).endpoints) == 3


def test_what_is_learnt_on_the_way_holds_after_a_resume(server: FaultyServer, tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    endpoint = opened(settings_of(server), path)
    server.answers(able(native=NO_TOOL_PARSER, json_schema=CONSTRAINED))
    endpoint.complete(TRIAL_MESSAGES, TRIAL_TOOLS)
    again = opened(settings_of(server), path)
    assert again.abilities == replace(endpoint.abilities, mode="json_schema")
    last = Ledger(path).records[-1].event
    assert isinstance(last, EndpointProbed) and "--enable-auto-tool-choice" in last.why
    assert last.requests == 0


def test_the_record_says_how_the_endpoint_is_asked_and_holds_no_key(
    server: FaultyServer, tmp_path: Path
) -> None:
    path = tmp_path / "ledger.jsonl"
    opened(settings_of(server), path)
    (record,) = Ledger(path).records
    assert body_of(record.event) == {
        "base_url": server.base_url,
        "model": "m",
        "mode": "native",
        "context_tokens": None,
        "max_tokens_field": "max_tokens",
        "takes_system_role": True,
        "why": "native: a call",
        "requests": 1,
        "usd": 0.0,
        "prompt_tokens": 90,
        "completion_tokens": 3,
    }
    assert KEY not in path.read_text()


def test_without_a_memory_every_opening_probes(server: FaultyServer) -> None:
    for _ in range(2):
        assert open_endpoint(settings_of(server)).abilities.mode == "native"
    assert len(server.requests) == 2
