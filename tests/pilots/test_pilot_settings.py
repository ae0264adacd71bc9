"""The `pilot:` section: a fault says how to mend it, and no key is ever part of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mlipilot.endpoint.endpoint_settings import EndpointSettings
from mlipilot.errors import InputError
from mlipilot.pilots.pilot_settings import PilotSettings, Role
from mlipilot.yaml_io import load_yaml_model


@pytest.fixture(autouse=True)
def _no_endpoint_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def test_the_default_is_the_scripted_pilot() -> None:
    assert PilotSettings().kind == "scripted"


def test_roles_share_the_researchers_endpoint_unless_they_are_given_another() -> None:
    pilot = PilotSettings(
        kind="openai", model="big", temperature=0.5, reviewer={"model": "small"}, analyst=False
    )
    researcher, reviewer = pilot.endpoint("researcher"), pilot.endpoint("reviewer")
    assert researcher and reviewer
    assert (researcher.model, reviewer.model, reviewer.temperature) == ("big", "small", 0.5)
    assert pilot.endpoint("analyst") is None
    assert PilotSettings(kind="scripted").endpoint("reviewer") is None


RESEARCHER: dict[str, Any] = {
    "kind": "openai",
    "base_url": "https://api.example.org/v1",
    "model": "gpt",
    "api_key_env": "GPT_KEY",
    "mode": "native",
    "context_tokens": 200_000,
    "max_tokens_field": "max_completion_tokens",
    "ca_bundle": "ca.pem",
    "usd_per_million_prompt_tokens": 2.0,
    "usd_per_million_completion_tokens": 8.0,
    "temperature": 0.5,
    "max_retries": 2,
}


@pytest.mark.parametrize(
    "address", [{"base_url": "http://node7:8000/v1"}, {"base_url_env": "BIG_URL"}, {"base_url": None}]
)
@pytest.mark.parametrize("role", ["reviewer", "analyst"])
def test_a_role_at_another_address_has_nothing_that_belongs_to_the_researchers(
    role: Role, address: dict[str, Any]
) -> None:
    found = PilotSettings.model_validate(RESEARCHER | {role: address}).endpoint(role)
    expected = {"temperature": 0.5, "max_retries": 2, "api_key_env": None} | address
    assert found == EndpointSettings.model_validate(expected)
    keyed = PilotSettings.model_validate(RESEARCHER | {role: address | {"api_key_env": "BIG_KEY"}})
    assert getattr(keyed.endpoint(role), "api_key_env", None) == "BIG_KEY"
    other = PilotSettings.model_validate(RESEARCHER | {role: {"model": "small"}}).endpoint(role)
    assert other and (other.base_url, other.api_key_env) == (RESEARCHER["base_url"], "GPT_KEY")


def test_a_role_with_a_key_that_no_endpoint_has_is_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        PilotSettings(kind="openai", reviewer={"modell": "small"})


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"base_url": "node7:8000"}, "an address such as"),
        ({"base_url": "ftp://node7/v1"}, "an address such as"),
        ({"base_url": "http://"}, "an address such as"),
        ({"base_url": "http://node7:99999/v1"}, "Port out of range"),
        ({"base_url": "http://me:secret@node7/v1"}, "holds no password"),
        ({"base_url": "http://node7/v1?key=x"}, "ends with its path"),
        ({"api_key_env": "sk-123"}, "should match pattern"),
        ({"temperature": 3}, "less than or equal to 2"),
        ({"request_timeout_s": 0}, "greater than 0"),
        ({"api_key": "sk-123"}, "Extra inputs"),
    ],
)
def test_a_wrong_value_is_named(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        PilotSettings.model_validate({"kind": "openai", "base_url": "http://node7/v1"} | given)


def test_the_scripted_pilot_has_no_address() -> None:
    with pytest.raises(ValidationError, match="set kind: openai"):
        PilotSettings(base_url="http://node7/v1")


def test_the_path_of_the_call_itself_is_taken_off() -> None:
    url = PilotSettings(kind="openai", base_url="http://h/v1/chat/completions").base_url
    assert url == "http://h/v1"


def test_a_misspelt_key_in_a_file_is_answered_with_the_right_one(tmp_path: Path) -> None:
    path = tmp_path / "pilot.yaml"
    path.write_text("kind: scripted\nmax_retrys: 3\n")
    with pytest.raises(InputError, match=r"pilot\.yaml:2: unknown key 'max_retrys'[\s\S]*'max_retries'"):
        load_yaml_model(path, PilotSettings)
