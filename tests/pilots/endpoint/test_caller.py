"""An endpoint that fails: what passes is waited for, what does not pauses the lineage with its reason."""

from __future__ import annotations

import email.utils
import json
import time
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from mlipilot.errors import InputError, PausedError
from mlipilot.pilots.endpoint.client import Endpoint
from mlipilot.pilots.settings import PilotSettings
from tests.pilots.endpoint import faulty_server as faulty
from tests.pilots.endpoint.faulty_server import Behaviour, FaultyServer

KEY = "sk-very-secret-key"
GOOD = faulty.json_body(
    {
        "choices": [{"message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 2},
    }
)
MESSAGES = [{"role": "user", "content": "hi"}]


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


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504, 529])
def test_a_passing_fault_is_tried_again(faulty_server: FaultyServer, status: int) -> None:
    faulty_server.answers(faulty.error(status), faulty.error(status), GOOD)
    exchange = endpoint_at(faulty_server.base_url).complete(MESSAGES, [])
    assert exchange.message["content"] == "hello"
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
    assert (exchange.prompt_tokens, exchange.completion_tokens) == (11, 2)


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
    endpoint = Endpoint(faulty_server.base_url, "m", None, settings, until=time.monotonic() + 0.2)
    with pytest.raises(PausedError, match="no complete reply within 0"):
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
    # A date has whole seconds only, so the one two seconds ahead is at least one second away.
    wait = email.utils.formatdate(time.time() + 2, usegmt=True) if as_date else "1"
    faulty_server.answers(faulty.error(429, Retry_After=wait), GOOD)
    started = time.monotonic()
    endpoint_at(faulty_server.base_url).complete(MESSAGES, [])
    assert 0.9 <= time.monotonic() - started < 4


@pytest.mark.parametrize("nonsense", ["soon", "-5", "nan", "Mon, 99 Foo"])
def test_a_retry_after_that_says_nothing_is_ignored(faulty_server: FaultyServer, nonsense: str) -> None:
    faulty_server.answers(faulty.error(429, Retry_After=nonsense), GOOD)
    assert endpoint_at(faulty_server.base_url).complete(MESSAGES, []).message["content"] == "hello"


def test_a_wait_beyond_patience_pauses_instead(faulty_server: FaultyServer) -> None:
    faulty_server.answers(faulty.error(429, "quota", Retry_After="86400"))
    with pytest.raises(PausedError, match="HTTP 429: quota"):
        endpoint_at(faulty_server.base_url).complete(MESSAGES, [])
    assert len(faulty_server.requests) == 1


@pytest.mark.parametrize(
    "fault",
    [faulty.silence, faulty.trickling_body(), faulty.trickling_headers()],
    ids=["silence", "body", "headers"],
)
def test_no_reply_outlives_the_wall_clock_limit(faulty_server: FaultyServer, fault: Behaviour) -> None:
    faulty_server.answers(fault)
    started = time.monotonic()
    with pytest.raises(PausedError, match=r"no complete reply within 0\.4 s"):
        endpoint_at(faulty_server.base_url, request_timeout_s=0.4, max_retries=0).complete(MESSAGES, [])
    assert time.monotonic() - started < 2


def test_a_reply_without_end_is_cut_off(faulty_server: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlipilot.pilots.endpoint.transport.MAX_REPLY_BYTES", 2**20)
    faulty_server.answers(faulty.body(b" " * 3 * 2**20))
    with pytest.raises(PausedError, match="longer than 1 MiB"):
        endpoint_at(faulty_server.base_url, max_retries=0).complete(MESSAGES, [])


def test_a_redirect_is_not_followed(faulty_server: FaultyServer) -> None:
    faulty_server.answers(faulty.body(b"", 307, Location="http://elsewhere/v1/chat/completions?token=1"))
    with pytest.raises(PausedError, match=r"redirects to http://elsewhere/v1/chat/completions; set base_url"):
        endpoint_at(faulty_server.base_url).complete(MESSAGES, [])


@pytest.mark.parametrize(
    "location", ["http://x/\xff", "http://[oops/", "\x1b[2Jhttp://x/", "", "http://x:99999/y"]
)
@pytest.mark.parametrize("status", [302, 304])
def test_a_redirect_to_nonsense_pauses_and_does_not_reach_the_terminal(
    faulty_server: FaultyServer, location: str, status: int
) -> None:
    faulty_server.answers(faulty.body(b"", status, Location=location))
    with pytest.raises(PausedError, match=r"it redirects to .*; set base_url to that") as paused:
        endpoint_at(faulty_server.base_url, max_retries=0).complete(MESSAGES, [])
    assert "\x1b" not in str(paused.value)


def test_a_redirect_without_end_is_cut_off(
    faulty_server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlipilot.pilots.endpoint.transport.MAX_REPLY_BYTES", 2**20)
    faulty_server.answers(faulty.body(b" " * 3 * 2**20, 302, Location="http://elsewhere/v1"))
    with pytest.raises(PausedError, match="longer than 1 MiB"):
        endpoint_at(faulty_server.base_url, max_retries=0).complete(MESSAGES, [])


def test_an_address_that_cannot_be_asked_pauses() -> None:
    with pytest.raises(PausedError, match="tried 1 time"):
        endpoint_at(f"http://{'a' * 70}.b/v1", max_retries=0).complete(MESSAGES, [])


def test_what_a_server_writes_in_place_of_http_is_shown_cleaned(faulty_server: FaultyServer) -> None:
    faulty_server.answers(faulty.trickle(b"\x1b]0;title\x07\x1b[2J HTTP/9\r\n\r\n", b""))
    with pytest.raises(PausedError, match="tried 1 time") as paused:
        endpoint_at(faulty_server.base_url, max_retries=0).complete(MESSAGES, [])
    assert not {"\x1b", "\x07"} & set(str(paused.value))


NONSENSE: list[Any] = [None, "7", -1, True, 0.5, 2**53, 10**9 + 1, 10**30]


@pytest.mark.parametrize("usage", [None, {}, [], *({"prompt_tokens": count} for count in NONSENSE)])
def test_usage_may_be_missing(faulty_server: FaultyServer, usage: Any) -> None:
    reply = {"choices": [{"message": {"content": "x"}}], "usage": usage}
    faulty_server.answers(faulty.json_body(reply))
    exchange = endpoint_at(faulty_server.base_url).complete(MESSAGES, [])
    assert (exchange.prompt_tokens, exchange.completion_tokens, exchange.finish_reason) == (0, 0, None)
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


def test_an_exchange_is_a_record_and_does_not_grow_with_the_conversation(faulty_server: FaultyServer) -> None:
    faulty_server.answers(GOOD)
    messages = [dict(MESSAGES[0])]
    exchange = endpoint_at(faulty_server.base_url).complete(messages, [])
    messages.append({"role": "user", "content": "more"})
    assert exchange.request["messages"] == MESSAGES
    assert exchange.duration_s > 0


def test_an_echoing_endpoint_does_not_bring_the_key_into_any_text(faulty_server: FaultyServer) -> None:
    endpoint = endpoint_at(faulty_server.base_url)
    echo = {"choices": [{"message": {"content": f"your key is {KEY}", KEY: [KEY]}}], "usage": {}}
    faulty_server.answers(faulty.json_body(echo))
    exchange = endpoint.complete([{"role": "user", "content": f"mine is {KEY}"}], [])
    assert KEY not in json.dumps([exchange.request, exchange.reply])
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


def test_a_login_in_netrc_does_not_replace_the_key(
    faulty_server: FaultyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password other\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    faulty_server.answers(GOOD)
    endpoint_at(faulty_server.base_url, trust_env=True).complete(MESSAGES, [])
    assert faulty_server.headers[0]["Authorization"] == f"Bearer {KEY}"
    Endpoint(faulty_server.base_url, "m", None, PilotSettings()).complete(MESSAGES, [])
    assert "Authorization" not in faulty_server.headers[1]


def test_proxies_of_the_environment_can_be_left_aside(
    faulty_server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    faulty_server.answers(GOOD)
    endpoint_at(faulty_server.base_url, trust_env=False).complete(MESSAGES, [])
    with pytest.raises(PausedError, match="trust_env: false goes around it"):
        endpoint_at(faulty_server.base_url, trust_env=True, max_retries=0).complete(MESSAGES, [])


def test_a_missing_certificate_file_is_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ca_bundle: there is no file"):
        endpoint_at("https://h/v1", ca_bundle=tmp_path / "none.pem")


def test_a_broken_certificate_file_pauses_and_does_not_crash(
    faulty_server: FaultyServer, tmp_path: Path
) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("no certificate")
    url = faulty_server.base_url.replace("http:", "https:")
    with pytest.raises(PausedError, match=r"TLS failed|certificate|PEM|SSL"):
        endpoint_at(url, ca_bundle=bundle, max_retries=0).complete(MESSAGES, [])


def test_numbers_that_canonical_json_has_no_form_for_do_not_reach_the_record(
    faulty_server: FaultyServer,
) -> None:
    faulty_server.answers(
        faulty.body(
            b'{"choices":[{"message":{}}],"seed":18446744073709551615,"x":NaN,"y":1e999,"z":-%d,"w":%d}'
            % (2**53, 2**53 - 1)
        )
    )
    reply = endpoint_at(faulty_server.base_url).complete(MESSAGES, []).reply
    assert (reply["seed"], reply["x"], reply["y"]) == ("18446744073709551615", None, None)
    assert (reply["z"], reply["w"]) == (f"-{2**53}", 2**53 - 1)
    assert rfc8785.dumps(reply)


def test_the_backoff_doubles_up_to_a_minute_and_is_spread() -> None:
    endpoint = endpoint_at("http://h/v1", backoff_s=1.0)
    for tries, ceiling in ((1, 1.0), (2, 2.0), (5, 16.0), (9, 60.0), (99, 60.0)):
        waits = [endpoint.caller._backoff_s(tries) for _ in range(20)]
        assert all(ceiling / 2 <= wait <= ceiling for wait in waits)
        assert len(set(waits)) > 1
