"""Each family's way to write a call, by their own words, and that no text costs more than its length."""

from __future__ import annotations

import time
from typing import Any

import pytest

from mlipilot.endpoint.parsing import MAX_CALLS, ToolCall
from tests.endpoint.asking import as_reply
from tests.endpoint.dialect_server import DIALECTS

AWKWARD = {
    "path": "train.py",
    "search": "if x < 3:\n    print(\"</think> <tool_call> [TOOL_CALLS] }] ```\", 'é')\n",
    "replace": "\tx = {1: [2]}\n\n```json\n{}\n```\n",
}


Told = tuple[str, dict[str, Any]]


def calls(content: str) -> list[ToolCall]:
    return as_reply({"content": content}).calls


def told(content: str) -> list[Told]:
    found = calls(content)
    assert all(call.problem is None for call in found)
    return [(call.name, call.arguments) for call in found]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_call_is_read_in_every_dialect(dialect: str) -> None:
    (call,) = as_reply(DIALECTS[dialect]("read_file", {"path": "recipe.yaml"})).calls
    assert (call.name, call.arguments, call.problem) == ("read_file", {"path": "recipe.yaml"}, None)


# A text that ends the thoughts ends them, also inside of a call.
@pytest.mark.parametrize("dialect", [name for name in DIALECTS if name != "inside the thoughts"])
def test_text_that_looks_like_another_dialect_survives_as_an_argument(dialect: str) -> None:
    (call,) = as_reply(DIALECTS[dialect]("replace_in_file", AWKWARD)).calls
    assert (call.name, call.arguments, call.problem) == ("replace_in_file", AWKWARD, None)


READ: Told = ("read_file", {"path": "a"})
LIST: Told = ("list_files", {})
J_READ, J_LIST = (
    '{"name": "read_file", "arguments": {"path": "a"}}',
    '{"name": "list_files", "arguments": {}}',
)


@pytest.mark.parametrize(
    "content",
    [
        f"{J_READ}\n{J_LIST}",
        f"[{J_READ}, {J_LIST}]",
        f"```json\n{J_READ}\n```\nand\n```json\n{J_LIST}\n```",
        f"<tool_call>{J_READ}</tool_call>\n<tool_call>{J_LIST}</tool_call>",
        f"<tool_call>\n{J_READ}\n{J_LIST}\n</tool_call>",
        f"<|python_tag|>{J_READ}; {J_LIST}",
        f"functools[{J_READ}, {J_LIST}]",
        '[TOOL_CALLS]read_file[ARGS]{"path": "a"}[TOOL_CALLS]list_files[ARGS]{}',
        '[TOOL_CALLS]read_file[CALL_ID]abc123def[ARGS]{"path": "a"}[TOOL_CALLS]list_files{}',
        '[read_file(path="a"), list_files()]',
        '[read_file(path="a"), list_files()] That should do.',
        "<function=read_file><parameter=path>a</parameter></function><function=list_files></function>",
        '<｜tool▁call▁begin｜>read_file<｜tool▁sep｜>{"path": "a"}<｜tool▁call▁end｜>'
        "<｜tool▁call▁begin｜>list_files<｜tool▁sep｜>{}<｜tool▁call▁end｜>",
        '<|tool_call_begin|>function<|tool_sep|>read_file\n```json\n{"path": "a"}\n```<|tool_call_end|>'
        "<|tool_call_begin|>function<|tool_sep|>list_files\n```json\n{}\n```<|tool_call_end|>",
    ],
)
def test_several_calls_keep_their_order(content: str) -> None:
    assert told(content) == [READ, LIST]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('[read_file("a")]', "by its name"),
        ("[read_file(**{'path': 'a'})]", "by its name"),
        ("[read_file(path=open('/etc/passwd').read())]", "literals"),
        ("[read_file(path=__import__('os').getcwd())]", "literals"),
        ("<function=read_file><parameter=path>recipe", "no </parameter>"),
        ('<tool_call>{"name": "read_file", "arguments": {"path": "rec', "not complete"),
        ('[TOOL_CALLS]read_file[ARGS]{"path": "rec', "not JSON"),
        ('<｜tool▁call▁begin｜>read_file<｜tool▁sep｜>{"path": "rec', "not JSON"),
        ('{"name": "read_file", "arguments": ' + '{"a": ' * 40 + "1" + "}" * 41, "deep"),
        ("{'name': 'read_file', 'arguments': {'path': {1, 2}}}", "no form"),
    ],
)
def test_a_call_that_cannot_be_carried_out_says_why(content: str, problem: str) -> None:
    (call,) = calls(content)
    assert call.problem is not None and problem in call.problem
    assert (call.name, call.arguments) == ("read_file", {})


@pytest.mark.parametrize(
    "content",
    [
        "[1, 2, 3]",
        "[link(1)](http://h) is a link",
        "[x for x in y]",
        "[read_file(path='a'), 3]",
        "[read_file(path='a')(), list_files()]",
        "print the file (please)",
        "read_file(path='a') is what I would do next.",
        "functools.partial",
        "<tool_call>",
        "<tool_call></tool_call>",
        "<function=>",
        "[TOOL_CALLS]",
        "[TOOL_CALLS] none",
        "<｜tool▁call▁begin｜>",
        '{"name": "read_file", "arguments": {"seed": 1',
        '{"name": "read_file", "arguments": {"path": "a",',
    ],
)
def test_what_is_no_call_is_not_taken_for_one(content: str) -> None:
    assert calls(content) == []


def test_missing_brackets_are_added_only_at_the_very_end_and_never_inside_a_value() -> None:
    assert told('{"name": "read_file", "arguments": {"path": "a"') == [READ]
    assert told('<tool_call>{"name": "read_file", "arguments": {"path": "a"</tool_call>') == [READ]
    assert calls('{"name": "read_file", "arguments": {"path": "a" and so on') == []
    assert calls('{"name": "read_file", "arguments": {"path": "a\\"') == []


def test_a_tool_without_arguments_needs_none_in_our_own_form() -> None:
    assert told('{"tool": "list_files"}') == [LIST]
    assert calls('{"name": "list_files"}') == []


def test_line_breaks_inside_strings_are_let_pass() -> None:
    assert told('{"name": "read_file", "arguments": {"path": "a\nb"}}') == [("read_file", {"path": "a\nb"})]


def test_pythons_and_jsons_constants_are_known() -> None:
    content = "[read_log(iteration=1, seed=None, tail=true, note=null, deep=[True, {'a': 1.5}])]"
    assert told(content) == [("read_log", {"iteration": 1, "tail": True, "deep": [True, {"a": 1.5}]})]


def test_the_call_that_comes_first_tells_the_dialect() -> None:
    assert told(f"<tool_call>{J_READ}</tool_call>\n[list_files()]") == [READ]
    assert told(f"{J_LIST}\n<tool_call>{J_READ}</tool_call>") == [LIST]


N = 200_000
HOSTILE = {
    "brackets": "[" * N,
    "braces": "{" * N,
    "bracket lines": "[\n" * (N // 2),
    "brace lines": "{\n" * (N // 2),
    "a bracket, then blanks": "[" + " \n" * (N // 2),
    "tool calls": "<tool_call>" * 10**4,
    "broken tool calls": '<tool_call>{"name": "x"' * 9000,
    "escapes": '<tool_call>{"a":"' + '\\"' * (N // 2),
    "backslashes": '{"a": "' + "\\" * N,
    "quotes": '{"' + '"' * N,
    "functions": "<function=a><parameter=b>" * (N // 25),
    "blanks in a function": "<function=a>" + " " * N,
    "mistral": "[TOOL_CALLS]" * (N // 12) + "[" * 50_000,
    "mistral names": "[TOOL_CALLS]a{" * (N // 14),
    "deepseek": "<｜tool▁call▁begin｜>f<｜tool▁sep｜>{" * (N // 34),
    "python calls": "[a(" * (N // 3),
    "python call lines": "[a(\n" * (N // 4),
    "python sums": "[f(a=1" + "+1" * 40_000 + ")]",
    "python attributes": "[f(a=x" + ".a" * 40_000 + ")]",
    "called calls": "f" + "()" * 40_000,
    "a long number": "[f(a=" + "9" * 90_000 + ")]",
    "python tags": "<|python_tag|>f(" * 10_000,
    "thoughts": "<think>" * 28_000,
    "ends of thoughts": "</think>" * 25_000,
    "fences": "```json\n{\n" * 20_000,
    "words": "a" * N,
    "blanks": " " * N,
    "a deep value": '{"name":"a","arguments":' + '{"a":' * 30_000,
    "deep dictionaries": "{'a':" * 30_000,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_costs_no_more_than_its_length(text: str) -> None:
    started = time.process_time()
    assert len(calls(text)) <= MAX_CALLS
    assert time.process_time() - started < 3  # they take 0.0 to 0.3 s


def test_a_reply_that_repeats_for_ever_is_cut() -> None:
    for text in (
        f"{J_READ}\n" * 5000,
        f"[{', '.join(['list_files()'] * 5000)}]",
        f"<tool_call>{J_READ}" * 4000,
    ):
        assert len(calls(text)) == MAX_CALLS
