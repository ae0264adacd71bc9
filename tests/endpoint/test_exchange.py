"""What is kept of a request and its reply, and what of it counts against a budget."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.endpoint import faulty_server as faulty
from tests.endpoint.asking import GOOD, MESSAGES, endpoint_at
from tests.endpoint.faulty_server import FaultyServer

NONSENSE: list[Any] = [None, "7", -1, True, 0.5, 2**53, 10**9 + 1, 10**30]


@pytest.mark.parametrize("usage", [None, {}, [], *({"prompt_tokens": count} for count in NONSENSE)])
def test_usage_may_be_missing(faulty_server: FaultyServer, usage: Any) -> None:
    reply = {"choices": [{"message": {"content": "x"}}], "usage": usage}
    faulty_server.answers(faulty.json_body(reply))
    exchange = endpoint_at(faulty_server.base_url).complete(MESSAGES, [])
    said = exchange.reply
    assert (said.prompt_tokens, said.completion_tokens, said.finish_reason) == (0, 0, None)
    sent = len(json.dumps(exchange.request))
    assert exchange.charged == exchange.estimates
    assert exchange.charged == {
        "prompt_tokens": 1 + sent // 3,
        "completion_tokens": 1 + len('{"content": "x"}') // 3,
    }


def test_only_the_count_that_is_missing_is_estimated(faulty_server: FaultyServer) -> None:
    reply = {"choices": [{"message": {"content": "x" * 300}}], "usage": {"prompt_tokens": 7}}
    faulty_server.answers(faulty.json_body(reply))
    exchange = endpoint_at(faulty_server.base_url).complete(MESSAGES, [])
    assert list(exchange.estimates) == ["completion_tokens"] and exchange.charged["prompt_tokens"] == 7
    assert 100 < exchange.charged["completion_tokens"] < 120


def test_an_exchange_is_a_record_and_does_not_grow_with_the_conversation(faulty_server: FaultyServer) -> None:
    faulty_server.answers(GOOD)
    messages = [dict(MESSAGES[0])]
    exchange = endpoint_at(faulty_server.base_url).complete(messages, [])
    messages.append({"role": "user", "content": "more"})
    assert exchange.request["messages"] == MESSAGES
    assert exchange.duration_s > 0
