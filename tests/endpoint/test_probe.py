"""How an endpoint can be asked, found out from what it answers to a tiny conversation."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mlipilot.endpoint.abilities import Finding
from mlipilot.endpoint.client import Endpoint
from mlipilot.endpoint.endpoint_settings import EndpointSettings
from mlipilot.endpoint.probe import find_abilities
from mlipilot.endpoint.trial import TRIAL_MESSAGES
from mlipilot.errors import PausedError
from tests.endpoint import faulty_server as faulty
from tests.endpoint.dialect_server import (
    DIALECTS,
    NO_JSON_SCHEMA,
    NO_TOOL_PARSER,
    able,
    counted,
    refusal,
)
from tests.endpoint.faulty_server import Behaviour, FaultyServer


def blue(dialect: str, prompt_tokens: int = 90) -> Behaviour:
    return counted(prompt_tokens, **DIALECTS[dialect]("report_colour", {"colour": "blue"}))


NATIVE, IN_TEXT, CONSTRAINED = blue("native"), blue("Hermes"), blue("constrained JSON")
PROSE = counted(90, content="It is blue.")
IGNORED = counted(20, content="It is blue.")
NO_FORMAT = refusal(400, "'response_format.type' must be 'text'")


def probed(server: FaultyServer, endpoint: Behaviour, **changes: Any) -> Finding:
    server.answers(endpoint)
    settings = EndpointSettings(**{"max_retries": 0, "trust_env": False, "backoff_s": 0} | changes)
    return find_abilities(Endpoint(server.base_url, "m", None, settings))


@pytest.mark.parametrize(
    ("endpoint", "mode", "why"),
    [
        (able(native=NATIVE), "native", "native: a call"),
        (able(native=NO_TOOL_PARSER, json_schema=CONSTRAINED), "json_schema", "native: refused"),
        (able(native=IN_TEXT, json_schema=CONSTRAINED), "json_schema", "native: a call in the text"),
        (able(native=PROSE, json_schema=CONSTRAINED), "json_schema", "native: no call; json_schema: a call"),
        (
            able(native=PROSE, json_schema=NO_JSON_SCHEMA, json_object=CONSTRAINED),
            "json_object",
            "json_schema: refused",
        ),
        (
            able(native=PROSE, json_schema=faulty.error(500), json_object=CONSTRAINED),
            "json_object",
            "json_schema: refused",
        ),
        (able(native=IN_TEXT, json_schema=NO_FORMAT, json_object=NO_FORMAT), "native", "a call in the text"),
        (able(native=IN_TEXT, json_schema=PROSE, json_object=PROSE), "native", "json_object: no call"),
        (able(native=PROSE, json_schema=PROSE, json_object=PROSE), "prompt", "json_object: no call"),
        (
            able(native=NO_TOOL_PARSER, json_schema=NO_FORMAT, json_object=NO_FORMAT, prompt=PROSE),
            "prompt",
            "refused",
        ),
        (
            able(native=IGNORED, json_schema=CONSTRAINED),
            "json_schema",
            "leaves tools out (20 prompt tokens with them, 20",
        ),
    ],
)
def test_the_best_way_that_works_is_taken(
    faulty_server: FaultyServer, endpoint: Behaviour, mode: str, why: str
) -> None:
    finding = probed(faulty_server, endpoint)
    assert finding.abilities.mode == mode
    assert why in finding.why


def test_a_model_that_was_still_thinking_is_taken_at_its_templates_word(faulty_server: FaultyServer) -> None:
    thinking = {"content": "", "reasoning_content": "The user wants a colour, so I could"}
    choice = {"message": thinking, "finish_reason": "length"}
    endless = faulty.json_body(
        {"choices": [choice], "usage": {"prompt_tokens": 90, "completion_tokens": 512}}
    )
    assert probed(faulty_server, able(native=endless)).abilities.mode == "native"


def test_what_is_found_out_besides_the_mode_is_kept(faulty_server: FaultyServer) -> None:
    faulty_server.pages["/props"] = faulty.json_body({"default_generation_settings": {"n_ctx": 4096}})
    faulty_server.answers(refusal(500, "System role not supported"), NATIVE)
    settings = EndpointSettings(max_retries=0, trust_env=False)
    found = find_abilities(Endpoint(faulty_server.base_url, "m", None, settings)).abilities
    assert (found.mode, found.takes_system_role, found.context_tokens) == ("native", False, 4096)


def test_it_is_cheap_and_says_what_it_cost(faulty_server: FaultyServer) -> None:
    finding = probed(faulty_server, able(native=NATIVE))
    assert (finding.requests, finding.prompt_tokens, finding.completion_tokens) == (1, 90, 3)
    assert len(json.dumps(faulty_server.requests[0])) < 1000
    worst = probed(faulty_server, able(native=PROSE, json_schema=PROSE, json_object=PROSE))
    assert worst.requests == 4
    assert all(request["max_tokens"] <= 512 for request in faulty_server.requests)


def test_what_an_endpoint_does_not_count_is_estimated_and_said(faulty_server: FaultyServer) -> None:
    finding = probed(faulty_server, faulty.call("report_colour", colour="blue"))
    assert finding.prompt_tokens > 100 and finding.completion_tokens > 10
    assert finding.why == "native: a call; tokens are estimated where it counts none"


def test_the_conversation_does_not_tell_what_only_the_tools_tell() -> None:
    assert "report_colour" not in json.dumps(TRIAL_MESSAGES)


def test_a_way_that_the_settings_fix_is_not_tried(faulty_server: FaultyServer) -> None:
    faulty_server.pages["/v1/models"] = faulty.json_body({"data": [{"id": "m", "max_model_len": 8192}]})
    found = probed(faulty_server, able(), mode="prompt").abilities
    assert (found.mode, found.context_tokens, faulty_server.requests) == ("prompt", 8192, [])
    looks = len(faulty_server.looks)
    assert probed(faulty_server, able(), mode="prompt", context_tokens=2048).abilities.context_tokens == 2048
    assert len(faulty_server.looks) == looks


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        (faulty.error(401), "does not accept the API key"),
        (faulty.error(404, "there is no model m"), "there is no model m"),
        (faulty.error(503), "HTTP 503"),
        (faulty.hang_up, "tried 1 time"),
    ],
)
def test_an_endpoint_that_refuses_everything_pauses(
    faulty_server: FaultyServer, endpoint: Behaviour, says: str
) -> None:
    with pytest.raises(PausedError, match=says):
        probed(faulty_server, endpoint)
