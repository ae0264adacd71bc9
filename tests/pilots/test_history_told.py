"""How a conversation is fitted: never longer than its room, in order, by the rule's own words."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlipilot.campaign.spec import RECIPES
from mlipilot.pilots.history_told import Room, fitted, history_lines, lesson_lines, recipe_texts
from mlipilot.pilots.outcomes import TurnInput
from mlipilot.pilots.prompt_texts import first_messages
from mlipilot.pilots.tools import tool_schemas
from mlipilot.untrusted import as_data
from tests.pilots.conftest import history_entry

MakeTurn = Callable[..., TurnInput]


def _history(number: int) -> list[dict[str, Any]]:
    return [
        history_entry(at, f"move {at}", verdict="reverted", reason="no gain " * 20) for at in range(number)
    ]


def _exchange(number: int, answer: str, **arguments: str) -> list[dict[str, Any]]:
    identity = f"call{number:05d}"
    function = {"name": "read_file", "arguments": json.dumps(arguments)}
    call = {"id": identity, "type": "function", "function": function}
    return [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": identity, "content": answer},
    ]


def _conversation(*answers: str) -> list[dict[str, Any]]:
    first = [{"role": "system", "content": "s"}, {"role": "user", "content": "t"}]
    return first + [m for at, answer in enumerate(answers) for m in _exchange(at, answer)]


@pytest.mark.parametrize("context", [8192, 16384, 131072])
def test_the_thirtieth_iteration_is_told_about_as_much_as_the_third(
    make_turn: MakeTurn, context: int
) -> None:
    recipe = {path.name: path.read_text() for path in (RECIPES / "mace").iterdir() if path.is_file()}

    def characters(iterations: int) -> int:
        turn = make_turn(
            history=_history(iterations), lessons=[f"lesson {n} " * 30 for n in range(iterations)]
        )
        return len(json.dumps([first_messages(turn, recipe, Room(context)), tool_schemas()]))

    assert characters(30) < 1.4 * characters(3)
    assert characters(300) < 1.02 * characters(30)


def test_the_past_is_told_newest_first_to_go_and_counted_beyond() -> None:
    lines, older = history_lines(_history(100), Room(4096, reply_tokens=1024))
    assert lines[-1].startswith("99 | move 99 | nothing | reverted | no gain")
    assert [int(line.split(" | ")[0]) for line in lines] == list(range(100 - len(lines), 100))
    assert older == f"{100 - len(lines)} earlier: {100 - len(lines)} reverted"
    assert history_lines(_history(2), Room()) == (history_lines(_history(2), Room())[0], "")


def test_what_an_experiment_wrote_is_told_without_comments_and_on_one_line() -> None:
    diff = "--- a/recipe.yaml\n+++ b/recipe.yaml\n@@ -2,3 +2,3 @@\n loss:\n-  energy: 1.0   # weight\n"
    diff += "+  energy: 0.8   # weight\n+  # a remark\n+  forces: 10.0\n" + "+x" * 300
    (line,), _ = history_lines([_history(1)[0] | {"diff": diff}], Room())
    assert line.startswith("0 | move 0 | energy: 0.8; forces: 10.0; x+x+x")
    assert len(line) < 700


def test_the_recipes_yaml_goes_before_its_code_and_what_does_not_fit_is_left_out() -> None:
    files = [("train.py", "x" * 2000), ("recipe.yaml", "y" * 2000), ("big.py", "z" * 10**6)]
    assert list(recipe_texts(files, Room(16384))) == ["recipe.yaml", "train.py"]
    assert list(recipe_texts(files, Room(5000, reply_tokens=1000))) == ["recipe.yaml"]


def test_a_lesson_is_one_line_and_the_newest_stay() -> None:
    lessons = lesson_lines(
        [f"lesson {n}\n- forged" + "x" * 300 for n in range(100)], Room(2048, reply_tokens=512)
    )
    assert lessons[-1].startswith("lesson 99 - forged")
    assert len(lessons) < 10


def test_what_fits_is_sent_as_it_is() -> None:
    messages = _conversation("one", "two")
    assert fitted(messages, [], Room()) == messages


def test_old_answers_go_first_and_task_and_newest_exchange_stay() -> None:
    messages = _conversation("a" * 9000, "b" * 9000, "c" * 9000)
    sent = fitted(messages, [], Room(8000, reply_tokens=1000))
    assert [m["role"] for m in sent] == [m["role"] for m in messages]
    assert "left out" in sent[3]["content"]
    assert sent[:2] == messages[:2] and sent[-2:] == messages[-2:]
    assert len(messages[3]["content"]) == 9000  # what was said is not forgotten, only not sent


@given(st.lists(st.integers(0, 4000), min_size=1, max_size=30), st.integers(1024, 8192))
def test_whatever_came_before_calls_keep_their_answers_and_the_rest_fits(
    sizes: list[int], context: int
) -> None:
    messages, room = _conversation(*("x" * size for size in sizes)), Room(context, reply_tokens=256)
    sent = fitted(messages, [], room)
    assert sent[:2] == messages[:2] and sent[-2] == messages[-2]
    asked = [call["id"] for m in sent for call in m.get("tool_calls", [])]
    assert asked == [m["tool_call_id"] for m in sent if m["role"] == "tool"]
    assert room.estimate(sent) <= room.tokens


def test_of_an_answer_that_is_too_long_by_itself_both_ends_are_sent() -> None:
    log = as_data("first\n" + "line\n" * 6000 + "last", "a log")
    messages, room = _conversation("short", log), Room(4096, reply_tokens=512)
    sent = fitted(messages, [], room)
    assert room.estimate(sent) <= room.tokens
    head, middle, end = sent[-1]["content"].partition("(the middle is left out: it does not fit)")
    assert middle and head.startswith("<<< UNTRUSTED") and end.rstrip()[-16:] == log.rstrip()[-16:]
    assert len(sent[-1]["content"]) > 0.7 * room.characters(1.0)  # no more is cut than must be


def test_many_long_answers_to_one_reply_are_cut_alike() -> None:
    messages, room = _conversation("x"), Room(8192, reply_tokens=512)
    messages += [{**messages[-1], "content": letter * 20_000} for letter in "abc"]
    sent = fitted(messages, [], room)
    assert room.estimate(sent) <= room.tokens
    lengths = [len(message["content"]) for message in sent[-3:]]
    assert min(lengths) > 600


@pytest.mark.parametrize("answer", ["ok", ""])  # such as that of reading an empty file
def test_a_long_call_is_cut_where_cutting_its_answer_is_not_enough(answer: str) -> None:
    messages, room = _conversation(answer), Room(4096, reply_tokens=512)
    messages[2] = _exchange(0, answer, path="train.py", content="y" * 50_000)[0]
    assert room.estimate(fitted(messages, [], room)) <= room.tokens


def test_the_endpoints_own_count_corrects_the_estimate() -> None:
    room, request = Room(4096), ["word " * 100]
    before = room.estimate(request)
    room.learn(request, prompt_tokens=101)
    assert room.estimate(request) == pytest.approx(101, abs=2) != before
    room.learn(request, prompt_tokens=0)
    assert room.estimate(request) == pytest.approx(101, abs=2)


def test_an_overflow_makes_the_room_smaller_each_time() -> None:
    room, request = Room(None, reply_tokens=100), ["x" * 3000]
    room.shrink(2048, request)
    assert room.context_tokens == 2048
    before = room.estimate(request)
    room.shrink(2048, request)  # said again: our count was too low
    assert room.estimate(request) > before
    unsaid = Room(None, reply_tokens=100)
    unsaid.shrink(None, request)
    assert unsaid.tokens < unsaid.estimate(request)


def test_the_tools_count_too(make_turn: MakeTurn) -> None:
    tools = tool_schemas()
    room = Room(4096, reply_tokens=512)
    messages = _conversation("a" * 6000, "b" * 1000)
    assert fitted(messages, [], room) == messages
    assert room.estimate([fitted(messages, tools, room), tools]) < room.estimate([messages, tools])
