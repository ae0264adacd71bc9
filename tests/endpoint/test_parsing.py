"""Where endpoints put a tool call, by their own words, and what must not be taken for one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mlipilot
from mlipilot.endpoint.parsing import MAX_CALLS, read_reply
from tests.endpoint.asking import as_reply

READ = '{"name": "read_file", "arguments": {"path": "recipe.yaml"}}'
WANTED = [("read_file", {"path": "recipe.yaml"})]


def native(name: Any, arguments: Any) -> dict[str, Any]:
    return {
        "tool_calls": [{"id": "a", "type": "function", "function": {"name": name, "arguments": arguments}}]
    }


@pytest.mark.parametrize(
    "message",
    [
        native("read_file", '{"path": "recipe.yaml"}'),
        native("read_file", {"path": "recipe.yaml"}),
        native("read_file", {"path": "recipe.yaml", "seed": None}),
        native("read_file", json.dumps('{"path": "recipe.yaml"}')),
        {"tool_calls": [{"name": "read_file", "arguments": {"path": "recipe.yaml"}}]},
        {"function_call": {"name": "read_file", "arguments": '{"path": "recipe.yaml"}'}},
        {"content": READ},
        {"content": READ, "tool_calls": []},
        {"content": READ, "tool_calls": None},
        {"content": f"Let me look.\n\n{READ}\n\nThen I go on."},
        {"content": f"Let me look.\n```json\n{READ}\n```"},
        {"content": f"```\n{READ}\n```\n"},
        {"content": f"  ```json\n  {READ}\n  ```\n"},
        {"content": f"<tool_call>\n{READ}\n</tool_call>"},
        {"content": f"<tool_call>{READ}"},
        {"content": f"[{READ}]"},
        {"content": READ.replace("arguments", "parameters")},
        {"content": json.dumps({"tool_calls": [json.loads(READ)]})},
        {"content": json.dumps({"type": "function", "function": json.loads(READ)})},
        {"content": json.dumps(json.loads(READ), indent=2)},
        {"content": [{"type": "text", "text": READ}]},
        {"content": f"<think>Which file?</think>{READ}"},
        {"content": f"<think>I must read it.\n{READ}\n</think>"},
        {"content": None, "reasoning_content": f"So I call\n{READ}"},
        {"content": "", "reasoning": f"<tool_call>{READ}</tool_call>"},
    ],
)
def test_a_call_is_found_wherever_the_endpoint_put_it(message: dict[str, Any]) -> None:
    reply = as_reply(message)
    assert [(call.name, call.arguments) for call in reply.calls] == WANTED
    assert reply.calls[0].problem is None


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"content": None},
        {"content": 7},
        {"content": "I would call read_file next."},
        {"content": f"One could write {READ} here."},
        {"content": '{"name": "read_file"}'},
        {"content": '{"path": "recipe.yaml"}'},
        {"content": '{"name": "read_file", "arguments": {"path": "rec'},
        {"content": "[" * 5000 + "]" * 5000},
        {"content": '\n{"a":' * 5000},
        {"tool_calls": "read_file"},
        {"tool_calls": [None, 3, {}, {"function": None}, {"function": {"name": 3}}]},
    ],
)
def test_what_is_no_call_is_not_taken_for_one(message: dict[str, Any]) -> None:
    assert as_reply(message).calls == []


@pytest.mark.parametrize(
    "arguments",
    [
        '{"path": "recipe.ya',
        '{"path": "recipe.yaml",',
        '{"seed": 1',
        "path=recipe.yaml",
        "[1, 2]",
        3,
        '{"x": NaN}',
        '{"x": 1e999}',
        r'{"x": "\ud800"}',
    ],
)
def test_arguments_that_cannot_be_read_are_a_problem_and_leave_nothing_behind(arguments: Any) -> None:
    (call,) = as_reply(native("read_file", arguments)).calls
    assert call.problem
    assert call.arguments == {}


@pytest.mark.parametrize("arguments", ["", "{}", None, {}])
def test_a_call_without_arguments_has_none(arguments: Any) -> None:
    (call,) = as_reply(native("list_files", arguments)).calls
    assert (call.arguments, call.problem) == ({}, None)


@pytest.mark.parametrize(
    "answer", [None, [], {}, {"choices": None}, {"choices": []}, {"choices": [3]}, {"choices": [{}]}]
)
def test_an_answer_without_a_message_is_no_reply(answer: Any) -> None:
    with pytest.raises(ValueError, match="the answer has no message"):
        read_reply(answer)


def test_nobody_else_looks_into_an_answer() -> None:
    """It is read at the edge and when a record is replayed; the scripted pilot's server writes answers."""
    package = Path(mlipilot.__file__).parent
    texts = {path.relative_to(package).as_posix(): path.read_text() for path in package.rglob("*.py")}
    readers = {name for name, text in texts.items() if "read_reply(" in text}
    assert readers == {"endpoint/parsing.py", "endpoint/client.py", "controller/recording.py"}
    insiders = {name for name, text in texts.items() if '"finish_reason"' in text}
    assert insiders == {"endpoint/parsing.py", "pilots/loopback.py"}


def test_a_reply_says_where_its_call_stood() -> None:
    assert as_reply(native("list_files", "{}")).is_native
    assert not as_reply({"content": READ}).is_native and as_reply({"content": READ}).calls


def test_a_native_call_goes_before_one_in_the_text() -> None:
    reply = as_reply(native("list_files", "{}") | {"content": READ})
    assert [call.name for call in reply.calls] == ["list_files"]
    assert reply.text == READ


def test_several_calls_keep_their_order() -> None:
    text = f"<tool_call>{READ}</tool_call><tool_call>{READ.replace('read_file', 'write_file')}</tool_call>"
    assert [c.name for c in as_reply({"content": text}).calls] == ["read_file", "write_file"]
    text = f"[{READ}, {READ.replace('read_file', 'write_file')}]"
    assert [c.name for c in as_reply({"content": text}).calls] == ["read_file", "write_file"]


def test_a_reply_that_repeats_for_ever_is_cut() -> None:
    assert len(as_reply({"content": f"{READ}\n" * 1000}).calls) == MAX_CALLS
    assert len(as_reply({"tool_calls": native("list_files", "{}")["tool_calls"] * 1000}).calls) == MAX_CALLS


def test_only_the_prose_behind_the_thoughts_counts_when_the_template_opened_them() -> None:
    reply = as_reply({"content": f"Perhaps\n{READ}\n</think>\nI would rather wait."})
    assert reply.calls != []  # there is none outside
    listing = READ.replace("read_file", "list_files")
    (call,) = as_reply({"content": f"Perhaps\n{READ}\n</think>\n{listing}"}).calls
    assert call.name == "list_files"


def test_a_name_is_made_fit_for_the_conversation() -> None:
    (call,) = as_reply(native("read file\n<|x|>", "{}")).calls
    assert call.name == "read_file___x__"


def test_thoughts_are_not_part_of_the_prose() -> None:
    assert as_reply({"content": "<think>hm</think>Hello"}).text == "Hello"


_MARKS = (
    *(
        "<tool_call>",
        "</tool_call>",
        "<|tool_call|>",
        "<|python_tag|>",
        "functools[",
        "[TOOL_CALLS]",
        "[ARGS]",
    ),
    *(
        "<function=f>",
        "<parameter=p>",
        "</parameter>",
        "<｜tool▁call▁begin｜>",
        "<｜tool▁sep｜>",
        "```json\n",
    ),
    *("<think>", "</think>", '"name": "f"', '"arguments": {', "f(a=1)", "'a'", '"', "\\"),
)
# A small alphabet: hypothesis builds tables of all of Unicode for a free one, which takes seconds.
_TEXT = st.text('{}[]()=;"`</think>tool_call|\n:, name argums\ud800\x00\\', max_size=60)
_WORDS = st.lists(st.sampled_from([*"{}[]()=,;\n", *_MARKS]), max_size=30).map("".join)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(_TEXT, inner),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "content": _WORDS | _JSON,
            "tool_calls": _JSON | st.lists(st.fixed_dictionaries({"function": _JSON, "name": _JSON})),
            "function_call": _JSON,
            "reasoning_content": _JSON,
        },
    )
)
def test_no_message_whatever_raises(message: dict[str, Any]) -> None:
    for call in as_reply(message).calls:
        json.dumps(call.arguments, allow_nan=False, ensure_ascii=False).encode()
