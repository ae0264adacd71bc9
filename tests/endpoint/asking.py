"""Asking an endpoint as a pilot does, with little patience."""

from __future__ import annotations

from typing import Any

from mlipilot.endpoint.client import Endpoint
from mlipilot.endpoint.parsing import Reply, read_reply
from mlipilot.pilots.pilot_settings import PilotSettings
from tests.endpoint import faulty_server as faulty

KEY = "sk-very-secret-key"
GOOD = faulty.json_body(
    {
        "choices": [{"message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 2},
    }
)
MESSAGES = [{"role": "user", "content": "hi"}]


def as_reply(message: dict[str, Any], **fields: Any) -> Reply:
    """The reply whose message this is; `fields` stand beside the choices, such as `usage`."""
    return read_reply({"choices": [{"message": message}]} | fields)


def endpoint_at(url: str, **changes: Any) -> Endpoint:
    given: dict[str, Any] = {
        "kind": "openai",
        "base_url": url,
        "max_retries": 2,
        "backoff_s": 0.01,
        "request_timeout_s": 5,
        "trust_env": False,
    }
    return Endpoint(url, "m", KEY, PilotSettings(**given | changes))
