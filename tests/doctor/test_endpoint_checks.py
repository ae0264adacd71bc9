"""The endpoint over real HTTP on loopback."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlipilot.doctor import endpoint_checks
from mlipilot.doctor.endpoint_checks import check_endpoint, check_endpoints
from mlipilot.pilots.pilot_settings import PilotSettings
from tests.endpoint.dialect_server import DIALECTS, NO_TOOL_PARSER, able, counted
from tests.endpoint.faulty_server import (
    Behaviour,
    FaultyServer,
    body,
    error,
    json_body,
    silence,
    trickling_body,
)

KEY = "sk-a-secret-key"
MODELS = "/v1/models"
COUNTED = counted(20, 64, content="one, two, three")
NATIVE = counted(90, **DIALECTS["native"]("report_colour", {"colour": "blue"}))
CONSTRAINED = counted(90, **DIALECTS["constrained JSON"]("report_colour", {"colour": "blue"}))
PROSE = counted(90, content="It is blue.")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with FaultyServer() as running:
        running.pages[MODELS] = json_body({"data": [{"id": "qwen"}, {"id": "gpt"}]})
        running.answers(able(native=NATIVE, bare=COUNTED))
        yield running


def _pilot(server: FaultyServer, model: str | None = None) -> PilotSettings:
    return PilotSettings(kind="openai", base_url=server.base_url, model=model)


def test_a_served_model(server: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    found = check_endpoint(_pilot(server, "qwen"))
    assert found.status == "ok" and "qwen made a tool call: mode native" in found.found
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert KEY not in found.found + found.mend


def test_the_endpoint_that_is_published_in_the_run_is_asked_with_its_token(
    server: FaultyServer, tmp_path: Path
) -> None:
    published = tmp_path / "endpoint.json"
    published.write_text(json.dumps({"base_url": server.base_url, "token": KEY}))
    (found,) = check_endpoints([PilotSettings(kind="openai", model="qwen")], published)
    assert found.status == "ok" and f"with the token in {published}" in found.found
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}" and KEY not in found.found


def test_a_placeholder_for_a_key_is_called_one(server: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "EMPTY")
    assert (
        "with a placeholder: under 8 letters and digits, OPENAI_API_KEY"
        in check_endpoint(_pilot(server)).found
    )


def test_a_model_that_is_not_served_fails(server: FaultyServer) -> None:
    found = check_endpoint(_pilot(server, "qwen-9"))
    assert found.status == "failed" and "gpt, qwen" in found.found and "qwen-9 is not among" in found.found
    assert server.requests == []


def test_names_of_models_hide_none_of_the_others_and_move_no_cursor(server: FaultyServer) -> None:
    server.pages[MODELS] = json_body({"data": [{"id": "\x1b]0;evil"}, {"id": "qwen\x1b[2J"}]})
    pilot = _pilot(server).model_copy(update={"api_key_env": None})
    found = check_endpoint(pilot)
    assert "without a key, as api_key_env is not set" in found.found
    assert found.found.endswith("pilot.model names none: , qwen")


def test_a_model_has_to_be_named_when_there_are_several(server: FaultyServer) -> None:
    assert check_endpoint(_pilot(server)).status == "failed"
    server.pages[MODELS] = json_body({"data": [{"id": "only"}]})
    assert check_endpoint(_pilot(server)).status == "ok"


def test_a_tag_that_ollama_adds_is_the_same_model(server: FaultyServer) -> None:
    server.pages[MODELS] = json_body({"data": [{"id": "llama3:latest"}, {"id": "b:latest"}]})
    assert check_endpoint(_pilot(server, "llama3")).status == "ok"


def test_a_key_that_is_not_accepted_is_never_printed(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.pages[MODELS] = error(401, f"your key {KEY} is \x1b[31mwrong")
    found = check_endpoint(_pilot(server, "qwen"))
    assert found.status == "failed" and "OPENAI_API_KEY" in found.found
    assert KEY not in found.found and "\x1b" not in found.found


@pytest.mark.parametrize("behaviour", [silence, trickling_body()])
def test_an_endpoint_that_does_not_answer_in_time_fails(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch, behaviour: Behaviour
) -> None:
    monkeypatch.setattr(endpoint_checks, "TIMEOUT_S", 0.3)
    server.pages[MODELS] = behaviour
    found = check_endpoint(_pilot(server, "qwen"))
    assert found.status == "failed" and "within 0.3 s" in found.found and len(server.looks) == 1


def test_a_model_that_does_not_answer_in_time_fails(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint_checks, "TRIAL_S", 0.3)
    server.answers(silence)
    found = check_endpoint(_pilot(server, "qwen"))
    assert found.status == "failed" and "no complete reply within 0" in found.found and found.mend


def test_it_says_the_mode_the_context_and_the_speed(server: FaultyServer) -> None:
    server.pages["/props"] = json_body({"default_generation_settings": {"n_ctx": 4096}})
    server.answers(able(native=NO_TOOL_PARSER, json_schema=CONSTRAINED, bare=COUNTED))
    found = check_endpoint(_pilot(server, "qwen"))
    assert found.status == "ok"
    assert re.search(r"mode json_schema, context of 4096 tokens, [\d.e+]+ tokens/s", found.found)


def test_what_an_endpoint_does_not_say_is_said(server: FaultyServer) -> None:
    server.answers(able(native=NATIVE, bare=counted(0, 0, content="one")))
    found = check_endpoint(_pilot(server, "qwen"))
    assert "context size not said (set pilot.context_tokens), tokens/s not said" in found.found


def test_a_model_that_calls_no_tool_is_warned_of(server: FaultyServer) -> None:
    server.answers(able(native=PROSE, json_schema=PROSE, json_object=PROSE, prompt=PROSE, bare=COUNTED))
    found = check_endpoint(_pilot(server, "qwen"))
    assert found.status == "warning" and "no right tool call (native: no call; json_schema" in found.found
    assert "--tool-call-parser" in found.mend


@pytest.mark.parametrize(
    "behaviour", [error(401, KEY), error(404, "no such model"), error(500), error(503), body(b"<html>")]
)
def test_a_model_that_cannot_be_asked_fails(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch, behaviour: Behaviour
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.answers(behaviour)
    pilot = _pilot(server, "qwen").model_copy(update={"backoff_s": 0})
    found = check_endpoint(pilot)
    assert found.status == "failed" and found.mend and KEY not in found.found


@pytest.mark.parametrize("content", [b"<html>", b'{"data": [1]}', b""])
def test_what_is_no_list_of_models_fails(server: FaultyServer, content: bytes) -> None:
    server.pages[MODELS] = body(content)
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
    server.pages[f"{pilot.base_url}/models"] = server.pages[MODELS]
    assert check_endpoint(pilot).status == "ok"
    assert server.headers[0]["Host"] == "node7.invalid:8000"


def test_without_a_campaign_the_environment_names_the_endpoint(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [check.status for check in check_endpoints(None)] == ["skipped"]
    monkeypatch.setenv("OPENAI_BASE_URL", "not an address")
    assert [check.status for check in check_endpoints(None)] == ["failed"]
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    (check,) = check_endpoints(None)
    assert "gpt, qwen" in check.found


def test_the_scripted_pilot_needs_none() -> None:
    assert [check.status for check in check_endpoints([PilotSettings()])] == ["skipped"]


def test_a_replay_needs_none() -> None:
    replay = PilotSettings.model_validate({"kind": "openai", "replay": "runs/x"})
    (check,) = check_endpoints([replay])
    assert check.status == "skipped" and "runs/x is replayed" in check.found


def test_each_endpoint_of_a_campaign_has_a_line(
    server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BIG_URL", raising=False)
    one = PilotSettings.model_validate(
        {"kind": "openai", "base_url": server.base_url, "model": "qwen", "reviewer": {"model": "gpt"}}
        | {"analyst": {"base_url": None, "base_url_env": "BIG_URL"}}
    )
    found = {check.name: check for check in check_endpoints([one])}
    assert {name: check.status for name, check in found.items()} == {
        "endpoint": "ok",
        "endpoint (reviewer)": "ok",
        "endpoint (analyst)": "failed",
    }
    assert "; gpt made a tool call" in found["endpoint (reviewer)"].found
    assert "export BIG_URL" in found["endpoint (analyst)"].found


def test_each_of_several_pilots_has_its_lines(server: FaultyServer) -> None:
    small, big = (_pilot(server, model).model_copy(update={"name": model}) for model in ("qwen", "gpt"))
    names = [check.name for check in check_endpoints([small, PilotSettings(kind="tpe"), big])]
    assert names == ["endpoint (qwen)", "endpoint (gpt)"]


def test_a_model_that_a_job_will_serve_is_not_asked_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLIPILOT_ENDPOINT", str(tmp_path / "tiny.gguf"))
    pilot = PilotSettings(kind="openai")
    assert [check.status for check in check_endpoints([pilot])] == ["failed"]
    (tmp_path / "tiny.gguf").touch()
    (check,) = check_endpoints([pilot])
    assert check.status == "skipped" and "a job of the campaign serves" in check.found
