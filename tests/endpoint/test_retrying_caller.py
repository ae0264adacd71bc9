"""An endpoint that fails: what passes is waited for, what does not pauses the lineage with its reason."""

from __future__ import annotations

import email.utils
import json
import math
import time

import pytest
import rfc8785

from mlipilot.endpoint.client import Endpoint
from mlipilot.errors import InputError, PausedError
from mlipilot.pilots.pilot_settings import PilotSettings
from tests.endpoint import faulty_server as faulty
from tests.endpoint.asking import GOOD, KEY, MESSAGES, endpoint_at
from tests.endpoint.faulty_server import Behaviour, FaultyServer


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504, 529])
def test_a_passing_fault_is_tried_again(faulty_server: FaultyServer, status: int) -> None:
    faulty_server.answers(faulty.error(status), faulty.error(status), GOOD)
    exchange = endpoint_at(faulty_server.base_url).complete(MESSAGES, [])
    assert exchange.reply.text == "hello"
    assert len(faulty_server.requests) == 3


@pytest.mark.parametrize(
    "fault",
    [
        faulty.hang_up,
        faulty.body(b""),
        faulty.body(b"<html>Bad gateway</html>"),
        faulty.body(b'{"choices": [{"mess'),
        faulty.body(b"[" * 100_000),
        faulty.json_body([]),
        faulty.json_body({}),
        faulty.json_body({"choices": []}),
        faulty.json_body({"choices": [{"message": None}]}),
        faulty.json_body({"choices": "no"}),
        faulty.json_body({"error": {"message": "loading model"}}),
        faulty.error(500),
    ],
)
def test_garbage_counts_as_a_fault_and_is_tried_again(faulty_server: FaultyServer, fault: Behaviour) -> None:
    faulty_server.answers(fault, GOOD)
    exchange = endpoint_at(faulty_server.base_url).complete(MESSAGES, [])
    assert (exchange.reply.prompt_tokens, exchange.reply.completion_tokens) == (11, 2)


LOADING = faulty.error(503, "Loading model")


@pytest.mark.parametrize("answer", [LOADING, faulty.json_body({"error": "model is loading"})])
@pytest.mark.parametrize("page", ["/health", "/v1/models"])
def test_an_endpoint_that_loads_its_model_is_polled_and_the_wait_is_no_try(
    faulty_server: FaultyServer, answer: Behaviour, page: str
) -> None:
    ready = iter([LOADING, LOADING, GOOD])
    faulty_server.pages[page] = lambda handler: next(ready)(handler)
    faulty_server.answers(answer, GOOD)
    endpoint_at(faulty_server.base_url, max_retries=0).complete(MESSAGES, [])
    assert faulty_server.looks.count(page) == 3
    assert len(faulty_server.requests) == 2


def test_a_wait_for_a_model_that_loads_leaves_every_try(faulty_server: FaultyServer) -> None:
    faulty_server.pages["/health"] = GOOD
    faulty_server.answers(LOADING, faulty.error(429), GOOD)
    endpoint_at(faulty_server.base_url, max_retries=1).complete(MESSAGES, [])
    assert len(faulty_server.requests) == 3


def test_patience_with_an_endpoint_that_loads_its_model_ends(faulty_server: FaultyServer) -> None:
    faulty_server.pages["/health"] = LOADING
    faulty_server.answers(LOADING)
    with pytest.raises(PausedError, match=r"Loading model \(not ready within 0\.1 s: loading_patience_s\)"):
        endpoint_at(faulty_server.base_url, loading_patience_s=0.1).complete(MESSAGES, [])
    assert len(faulty_server.requests) == 1


def test_an_endpoint_that_cannot_say_whether_it_loads_is_tried_as_often_as_any(
    faulty_server: FaultyServer,
) -> None:
    faulty_server.answers(LOADING)
    with pytest.raises(PausedError, match=r"Loading model \(tried 3 times\)"):
        endpoint_at(faulty_server.base_url, max_retries=2).complete(MESSAGES, [])


def test_nothing_is_asked_any_more_once_the_time_for_it_is_used_up(faulty_server: FaultyServer) -> None:
    faulty_server.answers(faulty.silence)
    settings = PilotSettings(trust_env=False, max_retries=0)
    endpoint = Endpoint(faulty_server.base_url, "m", None, settings, until=time.monotonic() + 3.0)
    with pytest.raises(PausedError, match=r"no complete reply within [0-3]"):
        endpoint.complete(MESSAGES, [])
    with pytest.raises(PausedError, match="time for asking it is used up"):
        endpoint.complete(MESSAGES, [])
    assert len(faulty_server.requests) == 1


def test_an_endpoint_that_stays_garbage_pauses_with_the_reason(faulty_server: FaultyServer) -> None:
    faulty_server.answers(faulty.body(b"<html>\x1b[31m"))
    with pytest.raises(PausedError, match=r"not a JSON object: '<html>' \(tried 3 times\)"):
        endpoint_at(faulty_server.base_url).complete(MESSAGES, [])
    assert len(faulty_server.requests) == 3


def test_a_500_is_tried_again_only_once(faulty_server: FaultyServer) -> None:
    faulty_server.answers(faulty.error(500, "broken"))
    with pytest.raises(PausedError, match=r"HTTP 500: broken \(tried 2 times\)"):
        endpoint_at(faulty_server.base_url, max_retries=9).complete(MESSAGES, [])


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (400, "does not accept the request .*n_ctx"),
        (401, "does not accept the API key; set the variable OPENAI_API_KEY"),
        (403, "check the key in OPENAI_API_KEY"),
        (404, "no such address or model; check base_url"),
        (422, "does not accept the request"),
    ],
)
def test_a_fault_of_ours_pauses_at_once(faulty_server: FaultyServer, status: int, says: str) -> None:
    faulty_server.answers(faulty.error(status, "n_ctx"))
    with pytest.raises(PausedError, match=says):
        endpoint_at(faulty_server.base_url).complete(MESSAGES, [])
    assert len(faulty_server.requests) == 1


def test_an_endpoint_that_is_down_pauses_with_the_systems_own_words(faulty_server: FaultyServer) -> None:
    url = "http://127.0.0.1:9/v1"  # the discard port: nothing listens there
    with pytest.raises(PausedError) as paused:
        endpoint_at(url).complete(MESSAGES, [])
    assert str(paused.value) == (
        f"the endpoint {url} with model 'm': [Errno 111] Connection refused (tried 3 times)"
    )


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_honoured(faulty_server: FaultyServer, as_date: bool) -> None:
    now = time.time()
    date = math.ceil(now) + 1  # it has whole seconds only
    wait = email.utils.formatdate(date, usegmt=True) if as_date else "1"
    faulty_server.answers(faulty.error(429, Retry_After=wait), GOOD)
    endpoint_at(faulty_server.base_url).complete(MESSAGES, [])
    assert (
        time.time() > (date if as_date else now + 1) - 0.1
    )  # its clock and that of its sleep may differ a little
    assert len(faulty_server.requests) == 2


@pytest.mark.parametrize("nonsense", ["soon", "-5", "nan", "Mon, 99 Foo"])
def test_a_retry_after_that_says_nothing_is_ignored(faulty_server: FaultyServer, nonsense: str) -> None:
    faulty_server.answers(faulty.error(429, Retry_After=nonsense), GOOD)
    assert endpoint_at(faulty_server.base_url).complete(MESSAGES, []).reply.text == "hello"


def test_a_wait_beyond_patience_pauses_instead(faulty_server: FaultyServer) -> None:
    faulty_server.answers(faulty.error(429, "quota", Retry_After="86400"))
    with pytest.raises(PausedError, match="HTTP 429: quota"):
        endpoint_at(faulty_server.base_url).complete(MESSAGES, [])
    assert len(faulty_server.requests) == 1


def test_the_request_says_what_the_settings_say(faulty_server: FaultyServer) -> None:
    faulty_server.answers(GOOD)
    endpoint_at(faulty_server.base_url).complete(MESSAGES, [{"type": "function"}])
    changed = {"temperature": 0.0, "max_tokens": 99, "max_tokens_field": "max_completion_tokens"}
    endpoint_at(faulty_server.base_url, **changed).complete(MESSAGES, [])
    tools = [{"type": "function"}]
    assert faulty_server.requests == [
        {"model": "m", "messages": MESSAGES, "tools": tools, "max_tokens": 4096},
        {"model": "m", "messages": MESSAGES, "max_completion_tokens": 99, "temperature": 0.0},
    ]
    assert faulty_server.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_an_echoing_endpoint_does_not_bring_the_key_into_any_text(faulty_server: FaultyServer) -> None:
    endpoint = endpoint_at(faulty_server.base_url)
    echo = {"choices": [{"message": {"content": f"your key is {KEY}", KEY: [KEY]}}], "usage": {}}
    faulty_server.answers(faulty.json_body(echo))
    exchange = endpoint.complete([{"role": "user", "content": f"mine is {KEY}"}], [])
    assert KEY not in json.dumps([exchange.request, exchange.reply.raw])
    assert KEY not in repr(exchange)
    assert KEY not in repr(endpoint)
    texts = [
        faulty.error(401, f"Incorrect API key provided: {KEY}"),
        faulty.error(429, "x" * 390 + KEY),
        faulty.body(b"y" * 110 + KEY.encode(), 400),
        faulty.body(KEY.encode()),
        faulty.body(b"", 302, Location=f"http://elsewhere/{KEY}"),
        faulty.error(400, f"the context size (100 tokens) of {KEY} is exceeded"),
        faulty.body(json.dumps({"error": KEY}).replace("s", "\\u0073").encode(), 400),
        faulty.error(429, "no", Retry_After=KEY),
    ]
    for behaviour in texts:
        faulty_server.answers(behaviour)
        with pytest.raises(PausedError) as paused:
            endpoint.complete(MESSAGES, [])
        told = str(paused.value) + repr(paused.value) + repr(vars(paused.value))
        assert KEY[1:6] not in told  # the first letter may have been escaped


def test_a_key_that_no_header_may_hold_is_refused_without_being_shown() -> None:
    with pytest.raises(InputError, match="OPENAI_API_KEY holds characters") as refused:
        Endpoint("http://h/v1", "m", "sk-se\ncret", PilotSettings())
    assert "cret" not in str(refused.value)


def test_numbers_that_canonical_json_has_no_form_for_do_not_reach_the_record(
    faulty_server: FaultyServer,
) -> None:
    faulty_server.answers(
        faulty.body(
            b'{"choices":[{"message":{}}],"seed":18446744073709551615,"x":NaN,"y":1e999,"z":-%d,"w":%d}'
            % (2**53, 2**53 - 1)
        )
    )
    reply = endpoint_at(faulty_server.base_url).complete(MESSAGES, []).reply.raw
    assert (reply["seed"], reply["x"], reply["y"]) == ("18446744073709551615", None, None)
    assert (reply["z"], reply["w"]) == (f"-{2**53}", 2**53 - 1)
    assert rfc8785.dumps(reply)


def test_the_backoff_doubles_up_to_a_minute_and_is_spread() -> None:
    endpoint = endpoint_at("http://h/v1", backoff_s=1.0)
    for tries, ceiling in ((1, 1.0), (2, 2.0), (5, 16.0), (9, 60.0), (99, 60.0)):
        waits = [endpoint.caller._backoff_s(tries) for _ in range(20)]
        assert all(ceiling / 2 <= wait <= ceiling for wait in waits)
        assert len(set(waits)) > 1
