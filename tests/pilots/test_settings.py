"""The `pilot:` section: a fault says how to mend it, and no key is ever part of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mlipilot.errors import InputError
from mlipilot.pilots.settings import PilotSettings
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
