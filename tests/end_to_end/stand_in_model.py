"""A model that plays every role by a fixed script, over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.endpoint import faulty_server as faulty
from tests.endpoint.faulty_server import FaultyServer

EDITS = (("learning_rate: 0.01", "learning_rate: 0.02"), ("learning_rate: 0.01", "learning_rate: 0.005"))
CLAIM = {
    "hypothesis": "Another learning rate changes what is reached in so few steps.",
    "mechanism": "Adam's steps are as long as the rate.",
    "expected_effect": [
        {"metric": "force_mae_mev_per_a", "direction": "decrease"},
        {"metric": "throughput_atom_steps_per_s", "direction": "unchanged"},
    ],
}


def answer(handler: BaseHTTPRequestHandler) -> None:
    """The next call of whichever role asks; it sees the conversation and nothing else."""
    request = faulty.owner_of(handler).requests[-1]
    name, arguments = _next_call(request)
    function = {"name": name, "arguments": json.dumps(arguments)}
    message: dict[str, Any] = {"role": "assistant", "content": None}
    message |= {"tool_calls": [{"id": "x", "type": "function", "function": function}]}
    usage = {"prompt_tokens": len(json.dumps(request)) // 4, "completion_tokens": 20}
    faulty.json_body({"choices": [{"message": message, "finish_reason": "tool_calls"}], "usage": usage})(
        handler
    )


def _next_call(request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    offered = {tool["function"]["name"] for tool in request["tools"]}
    task = str(request["messages"][1]["content"])
    if "report_colour" in offered:
        return "report_colour", {"colour": "blue"}
    if "approve" in offered:
        return "approve", {"reason": "It does what it claims."}
    if "write_lesson" in offered:
        return "write_lesson", {"lesson": "A learning rate was tried."}
    iteration = 2 if task.startswith("This is iteration 2") else 1
    old, new = EDITS[iteration - 1]
    turn: list[tuple[str, dict[str, Any]]] = [
        ("show_history", {}),
        ("read_log", {"iteration": 0}),
        ("replace_in_file", {"path": "recipe.yaml", "search": old, "replace": new}),
        ("submit_experiment", CLAIM | {"title": f"Rate {new.split()[-1]}"}),
    ]
    said = [message for message in request["messages"] if message["role"] == "assistant"]
    return turn[len(said)]


@contextmanager
def stand_in_model() -> Iterator[FaultyServer]:
    """The server, for as long as the `with` block lasts."""
    with FaultyServer() as server:
        server.answers(answer)
        yield server
