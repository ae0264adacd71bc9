"""A proposer that only calls tools, asked for its next call in a conversation."""

from __future__ import annotations

from typing import Any

import pytest

from mlipilot.endpoint.parsing import ToolCall
from mlipilot.endpoint.tool_entries import call_entry
from mlipilot.pilots.conversing import next_call
from mlipilot.pilots.outcomes import CAME_BACK, GaveUp, Outcome
from mlipilot.pilots.tools import Tools, tool_schemas

GO = {"role": "user", "content": "go"}
READ = {"path": "train.py"}
TOOLS = tool_schemas(["stress_mae_gpa", "force_mae_mev_per_a"])


def reader(turn: Tools) -> Outcome:
    """Lists, reads, and gives up with what it was told."""
    turn.call("list_files", {})
    told = turn.call("read_file", READ)
    return GaveUp(f"{told.text} ({', '.join(turn.metrics)}, {turn.came_back})")


def answered(own_id: str, name: str, arguments: dict[str, Any], text: str) -> list[dict[str, Any]]:
    said = {"role": "assistant", "content": None, "tool_calls": [call_entry(own_id, name, arguments)]}
    return [said, {"role": "tool", "tool_call_id": own_id, "content": text}]


def test_the_first_call_that_has_no_answer_is_the_next_one() -> None:
    listed = answered("1", "list_files", {}, "train.py")
    other = answered("2", "read_file", {"path": "recipe.yaml"}, "a: 1")
    unanswered = answered("3", "read_file", READ, "")[:1]
    assert next_call(reader, [GO], TOOLS) == ToolCall("list_files", {})
    assert next_call(reader, [GO, *listed], TOOLS) == ToolCall("read_file", READ)
    assert next_call(reader, [GO, *listed, *other, *unanswered], TOOLS) == ToolCall("read_file", READ)


@pytest.mark.parametrize(
    ("content", "came_back"), [("go", False), (f"# Task\n{CAME_BACK}: why", True), (f"no {CAME_BACK}", False)]
)
def test_the_newest_answer_counts_and_giving_up_is_a_call(content: str, came_back: bool) -> None:
    task = {"role": "user", "content": content}
    listed = answered("1", "list_files", {}, "train.py")
    read = [*answered("2", "read_file", READ, "first"), *answered("3", "read_file", READ, "second")]
    said = f"second (force_mae_mev_per_a, stress_mae_gpa, {came_back})"
    assert next_call(reader, [task, *listed, *read], TOOLS) == ToolCall("give_up", {"reason": said})
