"""The endpoint over real HTTP on loopback."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mlipilot.doctor import endpoint
from mlipilot.doctor.endpoint import check_endpoint
from mlipilot.pilots.settings import PilotSettings
from tests.pilots.endpoint.faulty_server import (
    Behaviour,
    FaultyServer,
    body,
    error,
    json_body,
    silence,
    trickling_body,
)

KEY = "sk-a-secret-key"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with FaultyServer() as running:
        running.answers(json_body({"data": [{"id": "qwen"}, {"id": "gpt"}]}))
        yield running


def _pilot(server: FaultyServer, model: str | None = None) -> PilotSettings:
    return PilotSettings(kind="openai", base_url=server.base_url, model=model)


def test_a_served_model(server: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    found = check_endpoint(_pilot(server, "qwen"))
    assert found.status == "ok" and "gpt, qwen" in found.found and "qwen is among them" in found.found
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert KEY not in found.found + found.mend


def test_a_model_that_is_not_served_fails(server: FaultyServer) -> None:
    found = check_endpoint(_pilot(server, "qwen-9"))
    assert found.status == "failed" and "gpt, qwen" in found.found and "qwen-9 is not among" in found.found


def test_a_model_has_to_be_named_when_there_are_several(server: FaultyServer) -> None:
    assert check_endpoint(_pilot(server)).status == "failed"
    server.answers(json_body({"data": [{"id": "only"}]}))
    assert check_endpoint(_pilot(server)).status == "ok"


def test_a_tag_that_ollama_adds_is_the_same_model(server: FaultyServer) -> None:
    server.answers(json_body({"data": [{"id": "llama3:latest"}, {"id": "b:latest"}]}))
    assert check_endpoint(_pilot(server, "llama3")).status == "ok"


def test_a_key_that_is_not_accepted_is_never_printed(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.answers(error(401, f"your key {KEY} is \x1b[31mwrong"))
    found = check_endpoint(_pilot(server, "qwen"))
    assert found.status == "failed" and "OPENAI_API_KEY" in found.found
    assert KEY not in found.found and "\x1b" not in found.found


@pytest.mark.parametrize("behaviour", [silence, trickling_body()])
def test_an_endpoint_that_does_not_answer_in_time_fails(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch, behaviour: Behaviour
) -> None:
    monkeypatch.setattr(endpoint, "TIMEOUT_S", 0.5)
    server.answers(behaviour)
    found = check_endpoint(_pilot(server, "qwen"))
    assert found.status == "failed" and "within 0.5 s" in found.found and len(server.requests) == 1


@pytest.mark.parametrize("content", [b"<html>", b'{"data": [1]}', b""])
def test_what_is_no_list_of_models_fails(server: FaultyServer, content: bytes) -> None:
    server.answers(body(content))
    assert check_endpoint(_pilot(server, "qwen")).status == "failed"


def test_nobody_listens() -> None:
    with FaultyServer() as gone:
        url = gone.base_url
    found = check_endpoint(PilotSettings(kind="openai", base_url=url, model="m", trust_env=False))
    assert found.status == "failed" and "refused" in found.found and "base_url" in found.mend


def test_a_proxy_of_the_environment_is_used(server: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.base_url.removesuffix("/v1"))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    pilot = PilotSettings(kind="openai", base_url="http://node7.invalid:8000/v1", model="qwen")
    assert check_endpoint(pilot).status == "ok"
    assert server.headers[0]["Host"] == "node7.invalid:8000"


def test_without_a_campaign_the_environment_names_the_endpoint(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check_endpoint(None).status == "skipped"
    monkeypatch.setenv("OPENAI_BASE_URL", "not an address")
    assert check_endpoint(None).status == "failed"
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    assert "gpt, qwen" in check_endpoint(None).found


def test_the_scripted_pilot_needs_none() -> None:
    assert check_endpoint(PilotSettings()).status == "skipped"
