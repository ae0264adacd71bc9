"""A language model that says what it is told to: its settings in a campaign, and its answers."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from tests.endpoint.faulty_server import Behaviour, json_body

ADDRESS = "MODEL_URL"
"""The environment variable with the address of the model, which is another one in each session."""
MODEL = {
    "kind": "openai",
    "model": "stand-in",
    "base_url_env": ADDRESS,
    "api_key_env": None,
    "trust_env": False,
    "context_tokens": 32768,
    "max_retries": 0,
    "smoke_retries": 1,
    "usd_per_million_prompt_tokens": 0.5,
    "usd_per_million_completion_tokens": 2.0,
}


def calls(name: str, **arguments: Any) -> Behaviour:
    """An answer that calls a tool, with its tokens counted."""
    function = {"name": name, "arguments": json.dumps(arguments)}
    said: dict[str, Any] = {"role": "assistant", "content": None}
    said |= {"tool_calls": [{"id": "x", "type": "function", "function": function}]}
    usage = {"prompt_tokens": 900, "completion_tokens": 20}
    return json_body({"choices": [{"message": said, "finish_reason": "tool_calls"}], "usage": usage})


PROBE = calls("report_colour", colour="blue")
APPROVE = calls("approve", reason="It does what it claims.")
SEND_BACK = calls(
    "send_back", objections="Without annealing the rate's own noise stays: change the schedule."
)


def edits(old: str, new: str) -> Behaviour:
    return calls("replace_in_file", path="recipe.yaml", search=old, replace=new)


def submits(title: str) -> Behaviour:
    return calls(
        "submit_experiment",
        title=title,
        hypothesis="Another learning rate changes what is reached in so few steps.",
        mechanism="Adam's steps are as long as the rate.",
        expected_effect=[{"metric": "energy_mae_mev_per_atom", "direction": "decrease"}],
    )


def touching(file: Path, answer: Behaviour) -> Behaviour:
    """The same answer, and `file` is there when it comes."""

    def behave(handler: BaseHTTPRequestHandler) -> None:
        file.touch()
        answer(handler)

    return behave
