"""Where a model is reached: the file, then what the run's own endpoint says, then the environment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlipilot.endpoint.address import find_address
from mlipilot.endpoint.endpoint_settings import EndpointSettings
from mlipilot.endpoint.opening import open_endpoint
from mlipilot.errors import InputError, PausedError
from mlipilot.pilots.addresses import check_addresses
from mlipilot.pilots.pilot_settings import PilotSettings
from tests.endpoint.dialect_server import counted
from tests.endpoint.faulty_server import FaultyServer, error, json_body


@pytest.fixture
def published(tmp_path: Path) -> Path:
    path = tmp_path / "endpoint.json"
    path.write_text(json.dumps({"base_url": "http://node7:8000/v1", "token": "t0ken"}))
    return path


def test_the_file_goes_before_the_run_and_the_run_before_the_environment(
    published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://other/v1/")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    fixed = find_address(EndpointSettings(base_url="http://mine/v1"), published)
    assert (fixed.base_url, fixed.key) == ("http://mine/v1", "sk-1")
    own = find_address(EndpointSettings(), published)
    assert (own.base_url, own.key) == ("http://node7:8000/v1", "t0ken")
    around = find_address(EndpointSettings(), None)
    assert (around.base_url, around.key) == ("http://other/v1", "sk-1")
    assert "sk-1" not in repr(around)


def test_each_pilot_may_have_variables_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://other/v1")
    monkeypatch.setenv("QWEN_URL", "http://node9:8000/v1")
    assert find_address(EndpointSettings(base_url_env="QWEN_URL"), None).base_url == "http://node9:8000/v1"


@pytest.mark.parametrize("by", ["base_url", "base_url_env"])
def test_the_researchers_key_reaches_no_other_server(
    faulty_server: FaultyServer, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    for name in ("OPENAI_API_KEY", "OWN_KEY"):
        monkeypatch.setenv(name, "sk-very-secret-key")
    monkeypatch.setenv("BIG_URL", faulty_server.base_url)
    theirs = {"base_url": faulty_server.base_url} if by == "base_url" else {"base_url_env": "BIG_URL"}
    faulty_server.pages["/v1/models"] = json_body({"data": [{"id": "q"}]})
    faulty_server.answers(counted(90, content="It is blue."))
    for own in ("OPENAI_API_KEY", "OWN_KEY"):
        pilot = PilotSettings.model_validate(
            {"kind": "openai", "base_url": "http://127.0.0.1:9/v1", "model": "gpt", "trust_env": False}
            | {"api_key_env": own, "reviewer": theirs}
        )
        reviewer = pilot.endpoint("reviewer")
        assert reviewer is not None and open_endpoint(reviewer).model == "q"
    assert faulty_server.requests and faulty_server.looks
    assert not [headers for headers in faulty_server.headers if "Authorization" in headers]


def test_an_endpoint_that_wants_a_key_which_nobody_named_says_so(faulty_server: FaultyServer) -> None:
    faulty_server.answers(error(401))
    settings = EndpointSettings(
        base_url=faulty_server.base_url, model="q", api_key_env=None, trust_env=False, max_retries=0
    )
    with pytest.raises(PausedError, match="wants an API key, and api_key_env names no variable"):
        open_endpoint(settings)


def test_a_variable_of_ones_own_goes_before_the_run(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = EndpointSettings(base_url_env="QWEN_URL", api_key_env="QWEN_KEY")
    monkeypatch.delenv("QWEN_URL", raising=False)
    assert find_address(settings, published).base_url == "http://node7:8000/v1"
    monkeypatch.setenv("QWEN_URL", "http://node9:8000/v1")
    monkeypatch.setenv("QWEN_KEY", "sk-9")
    own = find_address(settings, published)
    assert (own.base_url, own.key) == ("http://node9:8000/v1", "sk-9")


def test_no_address_says_how_to_give_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(InputError, match=r"write base_url under pilot:, export OPENAI_BASE_URL"):
        find_address(EndpointSettings(), tmp_path / "endpoint.json")


def test_a_wrong_address_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "node7:8000")
    with pytest.raises(InputError, match="OPENAI_BASE_URL: an address such as"):
        find_address(EndpointSettings(), None)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"base_url": "ftp://x", "token": "a"}'])
def test_what_is_no_published_endpoint_is_refused(published: Path, text: str) -> None:
    published.write_text(text)
    with pytest.raises(InputError, match="no published endpoint"):
        find_address(EndpointSettings(), published)


def test_every_role_that_is_on_must_have_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.delenv("OTHER_URL", raising=False)
    check_addresses(PilotSettings(kind="scripted"), None)
    check_addresses(PilotSettings(kind="openai", base_url="http://a/v1"), None)
    with pytest.raises(InputError, match="needs an address"):
        check_addresses(PilotSettings(kind="openai"), None)
    apart = {"base_url": None, "base_url_env": "OTHER_URL"}
    with pytest.raises(InputError, match="export OTHER_URL"):
        check_addresses(PilotSettings(kind="openai", base_url="http://a/v1", reviewer=apart), None)
