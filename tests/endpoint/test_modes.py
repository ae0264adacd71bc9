"""The same conversation for endpoints that take it in different shapes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from mlipilot.endpoint.abilities import MODES, Abilities, CallMode
from mlipilot.endpoint.modes import call_schema, request_body
from mlipilot.pilots.tools import tool_schemas
from tests.endpoint.asking import as_reply
from tests.pilots.test_tools import CLAIM

TOOLS = tool_schemas()


def calling(number: int, name: str, **arguments: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"id": f"call0000{number}", "type": "function", "function": function}


MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": "You are the pilot."},
    {"role": "user", "content": "Begin."},
    {
        "role": "assistant",
        "content": "I look.",
        "tool_calls": [calling(0, "list_files"), calling(1, "read_file", path="é")],
    },
    {"role": "tool", "tool_call_id": "call00000", "content": "recipe.yaml"},
    {"role": "tool", "tool_call_id": "call00001", "content": "error: no"},
    {"role": "assistant", "content": None},
    {"role": "user", "content": "Go on."},
]


def test_native_calls_are_sent_as_they_are_and_texts_are_strings() -> None:
    body = request_body(MESSAGES, TOOLS, Abilities())
    assert body["tools"] == TOOLS
    assert body["messages"][:5] == MESSAGES[:5]
    assert body["messages"][5] == {"role": "assistant", "content": ""}


def test_an_empty_list_of_tools_is_not_sent() -> None:
    for mode in MODES:
        assert set(request_body(MESSAGES[:2], [], Abilities(mode))) == {"messages"}


@pytest.mark.parametrize("mode", ["json_schema", "json_object", "prompt"])
def test_without_native_calls_the_conversation_is_plain_text_of_alternating_roles(mode: CallMode) -> None:
    body = request_body(MESSAGES, TOOLS, Abilities(mode))
    assert [message["role"] for message in body["messages"]] == [
        "system",
        "user",
        "assistant",
        "user",
        "assistant",
        "user",
    ]
    assert all(set(message) == {"role", "content"} for message in body["messages"])
    system, _, calls, answers, *_ = (message["content"] for message in body["messages"])
    assert system.startswith("You are the pilot.\n\nHow to call a tool")
    assert all(f"- {tool['function']['name']}: " in system for tool in TOOLS)
    first, second = (
        '{"tool": "list_files", "arguments": {}}',
        '{"tool": "read_file", "arguments": {"path": "é"}}',
    )
    assert calls == f"I look.\n{first}\n{second}"
    assert answers == "Answer of list_files:\nrecipe.yaml\n\nAnswer of read_file:\nerror: no"


def test_what_the_model_is_told_of_its_calls_is_what_is_read_from_it() -> None:
    told = request_body(MESSAGES, TOOLS, Abilities("prompt"))["messages"][2]
    assert [call.name for call in as_reply(told).calls] == ["list_files", "read_file"]


@pytest.mark.parametrize("mode", MODES)
def test_where_there_is_no_system_role_its_text_goes_before_the_users(mode: CallMode) -> None:
    messages = request_body(MESSAGES, TOOLS, Abilities(mode, takes_system_role=False))["messages"]
    assert messages[0]["role"] == "user" and messages[1]["role"] == "assistant"
    assert messages[0]["content"].startswith("You are the pilot.\n\n")
    assert messages[0]["content"].endswith("\n\nBegin.")


def test_the_ways_of_constraining_differ_in_their_envelope_only() -> None:
    schema = request_body(MESSAGES, TOOLS, Abilities("json_schema"))["response_format"]
    loose = request_body(MESSAGES, TOOLS, Abilities("json_object"))["response_format"]
    assert schema["type"] == "json_schema" and schema["json_schema"]["schema"] == call_schema(TOOLS)
    assert loose == {"type": "json_object", "schema": call_schema(TOOLS)}
    assert "response_format" not in request_body(MESSAGES, TOOLS, Abilities("prompt"))


def test_the_schema_takes_every_right_call_and_no_other_tool() -> None:
    validator = Draft202012Validator(call_schema(TOOLS))
    assert validator.is_valid({"tool": "submit_experiment", "arguments": CLAIM})
    assert validator.is_valid({"tool": "list_files", "arguments": {}})
    assert not validator.is_valid({"tool": "list_files", "arguments": {"path": "a"}})
    assert not validator.is_valid({"tool": "rm", "arguments": {}})
    assert not validator.is_valid(
        {"tool": "submit_experiment", "arguments": CLAIM | {"expected_effect": "less"}}
    )


def test_the_schema_holds_no_limit_that_a_grammar_may_not_know() -> None:
    text = json.dumps(call_schema(TOOLS))
    assert not any(f'"{key}"' in text for key in ("minLength", "maxLength", "minimum", "maxItems", "$defs"))
    assert call_schema(TOOLS[:1])["properties"]["tool"]["const"] == "list_files"
