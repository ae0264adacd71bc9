"""What an endpoint refuses teaches how to ask it: for good, and told once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mlipilot.endpoint.abilities import Abilities
from mlipilot.endpoint.client import Endpoint
from mlipilot.endpoint.endpoint_settings import EndpointSettings
from mlipilot.endpoint.exchange import ContextOverflowError
from mlipilot.endpoint.trial import TRIAL_MESSAGES, TRIAL_TOOLS
from mlipilot.errors import PausedError
from tests.endpoint import faulty_server as faulty
from tests.endpoint.dialect_server import (
    NO_TOOL_PARSER,
    OVERFLOW_LLAMA_CPP,
    OVERFLOW_VLLM,
    able,
    counted,
    refusal,
)
from tests.endpoint.faulty_server import FaultyServer

KEY = "sk-very-secret-key"
FINE = counted(90, content="hello")


class Taught:
    """An endpoint, and what it told of its lessons."""

    def __init__(self, server: FaultyServer, abilities: Abilities | None = None, **changes: Any) -> None:
        settings = EndpointSettings(**{"max_retries": 0, "trust_env": False, "backoff_s": 0} | changes)
        self.server = server
        self.told: list[tuple[Abilities, str]] = []
        self.endpoint = Endpoint(
            server.base_url, "m", KEY, settings, abilities, lambda now, why: self.told.append((now, why))
        )

    def ask(self) -> None:
        self.endpoint.complete(TRIAL_MESSAGES, TRIAL_TOOLS)


def test_a_lesson_holds_for_the_next_request_and_is_told_once(faulty_server: FaultyServer) -> None:
    taught = Taught(faulty_server)
    faulty_server.answers(able(native=NO_TOOL_PARSER, json_schema=FINE))
    taught.ask()
    taught.ask()
    assert ["tools" in request for request in faulty_server.requests] == [True, False, False]
    ((abilities, why),) = taught.told
    assert abilities.mode == "json_schema"
    assert "--enable-auto-tool-choice" in why


def test_several_lessons_of_one_request_are_told_together(faulty_server: FaultyServer) -> None:
    taught = Taught(faulty_server)
    faulty_server.answers(
        refusal(400, "Use 'max_completion_tokens' instead."), refusal(500, "System role not supported"), FINE
    )
    taught.ask()
    ((abilities, why),) = taught.told
    assert (abilities.max_tokens_field, abilities.takes_system_role) == ("max_completion_tokens", False)
    assert "max_completion_tokens" in why and "System role" in why
    assert [message["role"] for message in faulty_server.requests[-1]["messages"]] == ["user"]


def test_nothing_is_told_of_a_lesson_that_did_not_help(faulty_server: FaultyServer) -> None:
    taught = Taught(faulty_server)
    faulty_server.answers(NO_TOOL_PARSER)
    with pytest.raises(PausedError, match="enable-auto-tool-choice"):
        taught.ask()
    assert taught.told == []


def test_a_way_that_the_settings_fix_is_kept(faulty_server: FaultyServer) -> None:
    for mode, refused in (("native", NO_TOOL_PARSER), ("json_schema", refusal(400, "json_schema: no"))):
        faulty_server.answers(refused)
        taught = Taught(faulty_server, Abilities("prompt"), mode=mode)
        assert taught.endpoint.abilities.mode == mode
        with pytest.raises(PausedError):
            taught.ask()
    assert len(faulty_server.requests) == 2


def test_an_echo_of_the_key_is_in_no_lesson(faulty_server: FaultyServer) -> None:
    taught = Taught(faulty_server)
    faulty_server.answers(refusal(400, f"key {KEY}: tools are not supported"), FINE)
    taught.ask()
    assert KEY not in json.dumps(taught.told[0][1]) and "[API key]" in taught.told[0][1]


@pytest.mark.parametrize(("refused", "size"), [(OVERFLOW_LLAMA_CPP, 8192), (OVERFLOW_VLLM, 8192)])
def test_an_overflow_names_the_size_and_is_remembered(
    faulty_server: FaultyServer, refused: faulty.Behaviour, size: int
) -> None:
    taught = Taught(faulty_server, max_tokens=100)
    faulty_server.answers(refused)
    with pytest.raises(ContextOverflowError) as overflow:
        taught.ask()
    assert overflow.value.context_tokens == taught.endpoint.context_tokens == size
    assert len(faulty_server.requests) == 1
    faulty_server.answers(FINE)
    taught.ask()
    assert taught.told[0][0].context_tokens == size


def test_a_reply_takes_no_more_than_its_share_of_the_context(faulty_server: FaultyServer) -> None:
    assert Taught(faulty_server).endpoint.reply_tokens == 4096
    assert Taught(faulty_server, Abilities(context_tokens=8192)).endpoint.reply_tokens == 2048
    assert (
        Taught(faulty_server, Abilities(context_tokens=8192), context_tokens=4096).endpoint.reply_tokens
        == 1024
    )
    taught = Taught(faulty_server)
    faulty_server.answers(OVERFLOW_VLLM, FINE)
    taught.ask()
    assert [request["max_tokens"] for request in faulty_server.requests] == [4096, 2048]


def test_an_overflow_without_a_size_says_so(faulty_server: FaultyServer) -> None:
    faulty_server.answers(refusal(400, "the request exceeds the available context size"))
    with pytest.raises(ContextOverflowError) as overflow:
        Taught(faulty_server).ask()
    assert overflow.value.context_tokens is None


def _told(endpoint: Endpoint, characters: int) -> None:
    endpoint.complete([{"role": "user", "content": "x" * characters}], [])


def test_the_same_count_for_a_longer_conversation_is_a_conversation_cut_in_silence(
    faulty_server: FaultyServer,
) -> None:
    endpoint = Taught(faulty_server).endpoint
    faulty_server.answers(counted(3900, content="a"), counted(2050, content="b"))
    _told(endpoint, 16_000)
    _told(endpoint, 17_000)
    with pytest.raises(ContextOverflowError, match="2050 tokens, twice, of 18000 characters") as overflow:
        _told(endpoint, 18_000)
    assert overflow.value.context_tokens == 2050
    assert overflow.value.exchange is not None and overflow.value.exchange.reply.text == "b"


@pytest.mark.parametrize("counts", [(2050, 2051), (0, 0), (300, 300), (5000, 5000)])
def test_other_counts_are_no_sign_of_it(faulty_server: FaultyServer, counts: tuple[int, int]) -> None:
    endpoint = Taught(faulty_server).endpoint
    faulty_server.answers(*(counted(count, content="a") for count in counts))
    for characters in (17_000, 18_000):
        _told(endpoint, characters)


@pytest.mark.parametrize(
    ("finish_reason", "tokens", "is_cut_off"),
    [("length", 3, True), ("stop", 100, True), ("stop", 99, False), ("stop", 0, False), (None, 3, False)],
)
def test_a_reply_of_the_most_tokens_was_cut_off_whatever_its_endpoint_says(
    faulty_server: FaultyServer, finish_reason: str | None, tokens: int, is_cut_off: bool
) -> None:
    choice = {"message": {"content": "a"}, "finish_reason": finish_reason}
    faulty_server.answers(faulty.json_body({"choices": [choice], "usage": {"completion_tokens": tokens}}))
    exchange = Taught(faulty_server, max_tokens=100).endpoint.complete(TRIAL_MESSAGES, [])
    assert exchange.is_cut_off is is_cut_off
