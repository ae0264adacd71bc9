"""A server or a proxy that gives back what it was sent, in every form and at every place: nobody reads it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from mlipilot import confidential
from mlipilot.endpoint.client import Endpoint
from mlipilot.endpoint.transport import Connection, TransportError, send
from mlipilot.errors import InputError, PausedError
from mlipilot.pilots.pilot_settings import PilotSettings
from tests.controller.desk import Desk
from tests.echoes import FORMS, reveals
from tests.endpoint import faulty_server as faulty
from tests.endpoint.faulty_server import Behaviour, FaultyServer

KEY = "sk-Zb81qLw0TfXe37Ykd9RmUc2"
PASSWORD = "hu nter2:p@ss-w0rd"
LOGIN = "http://me:hu%20nter2%3Ap%40ss-w0rd@127.0.0.1:{port}"
MESSAGES = [{"role": "user", "content": "hi"}]
Echo = Callable[[str], Behaviour]
"""What is answered with a text in it."""


@pytest.fixture(autouse=True)
def _no_key_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confidential, "_wanted", {})


def _pieces(text: str, write: Callable[[str], str]) -> str:
    return "".join(write(text[at : at + 3]) for at in range(0, len(text), 3))


def _parts(text: str) -> Behaviour:
    return faulty.message([{"type": "text", "text": text[at : at + 3]} for at in range(0, len(text), 3)])


def _events(text: str) -> Behaviour:
    event = lambda piece: f"data: {json.dumps({'choices': [{'delta': {'content': piece}}]})}\n\n"  # noqa: E731
    return faulty.body((_pieces(text, event) + "data: [DONE]\n\n").encode(), Content_Type="text/event-stream")


def _lines(text: str) -> Behaviour:
    return faulty.body(_pieces(text, lambda piece: json.dumps({"error": piece}) + "\n").encode(), 400)


def _status_line(text: str) -> Behaviour:
    def behave(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(f"HTTP/9 {text}\r\n\r\n".encode("latin-1", "replace"))

    return behave


PLACES: dict[str, Echo] = {
    "content": lambda text: faulty.message(f"your key is {text}, isn't it?"),
    "name": lambda text: faulty.json_body({"choices": [{"message": {"content": "hello", text: [text]}}]}),
    "parts": _parts,
    "call": lambda text: faulty.call("read_file", path=text),
    "error 400": lambda text: faulty.error(400, f"no model for {text}"),
    "overflow": lambda text: faulty.error(400, f"the context size (2048 tokens) of {text} is exceeded"),
    "error 401": lambda text: faulty.json_body({"detail": [text]}, 401),
    "error 429": lambda text: faulty.error(429, "x" * 390 + text),
    "error 500": lambda text: faulty.error(500, text),
    "page 502": lambda text: faulty.body(f"<p>{text}</p>".encode(), 502),
    "no JSON": lambda text: faulty.body(b"y" * 110 + text.encode()),
    "cut JSON": lambda text: faulty.body(json.dumps({"error": text}).encode()[:-2], 400),
    "redirect": lambda text: faulty.body(b"", 302, Location=f"http://elsewhere/{_in_a_header(text)}"),
    "status line": _status_line,
    "events": _events,
    "lines of JSON": _lines,
}  # fmt: skip


def _in_a_header(text: str) -> str:
    return text.encode("latin-1", "ignore").decode("latin-1").replace("\r", "").replace("\n", "")


def _all_said(endpoint: Endpoint) -> str:
    """Whatever a request came to, as a record or a message would have it."""
    try:
        exchange = endpoint.complete(MESSAGES, [])
    except PausedError as paused:
        return f"{paused} {paused!r} {vars(paused)!r}"
    return json.dumps([exchange.request, exchange.reply.raw], ensure_ascii=False) + repr(exchange)


def _endpoint(url: str, **changes: object) -> Endpoint:
    given = {"kind": "openai", "base_url": url, "max_retries": 1, "backoff_s": 0.0, "trust_env": False}
    return Endpoint(url, "m", KEY, PilotSettings.model_validate(given | changes))


@pytest.mark.parametrize("place", PLACES)
def test_no_form_of_the_key_comes_back_from_any_place(faulty_server: FaultyServer, place: str) -> None:
    endpoint = _endpoint(faulty_server.base_url)
    for form, write in FORMS.items():
        faulty_server.answers(PLACES[place](write(KEY)))
        assert not reveals(_all_said(endpoint), KEY[: confidential.LEAST]), form
    assert faulty_server.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_a_reply_in_parts_is_read_without_the_key(faulty_server: FaultyServer) -> None:
    faulty_server.answers(_parts(f"before {KEY} after"))
    text = _endpoint(faulty_server.base_url).complete(MESSAGES, []).reply.text
    assert text.startswith("before ") and text.endswith(" after") and not reveals(text, KEY[:8])


def test_where_a_redirect_leads_is_shown_without_its_login(faulty_server: FaultyServer) -> None:
    faulty_server.answers(faulty.body(b"", 302, Location="http://t0ken@elsewhere/v1?k=1#k"))
    said = _all_said(_endpoint(faulty_server.base_url))
    assert "it redirects to http://elsewhere/v1; set" in said and "t0ken" not in said


@pytest.fixture
def proxy(faulty_server: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyServer]:
    """The server as a proxy that wants a login, which the environment holds."""
    port = faulty_server.base_url.split(":")[2].split("/")[0]
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name.lower(), raising=False)
        monkeypatch.setenv(name, LOGIN.format(port=port))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")
    yield faulty_server


def _login(handler: BaseHTTPRequestHandler) -> str:
    return handler.headers["Proxy-Authorization"]


def test_a_proxys_login_does_not_come_back(proxy: FaultyServer) -> None:
    endpoint, seen = _endpoint("http://node7:8000/v1", trust_env=True), list[str]()

    def refuse(handler: BaseHTTPRequestHandler) -> None:
        seen.append(_login(handler))
        faulty.error(407, f"Proxy-Authorization: {seen[-1]} of {FORMS['URL'](PASSWORD)} ({PASSWORD})")(
            handler
        )

    proxy.answers(refuse)
    said = _all_said(endpoint)
    assert "HTTP 407: Proxy-Authorization: Basic" in said and reveals(seen[0], "p@ss-w0rd"[:1])
    assert not any(reveals(said, part) for part in ("p@ss", "ss-w0rd", "nter2", seen[0].split()[1]))


def test_nor_where_it_refuses_to_connect(proxy: FaultyServer) -> None:
    seen = list[str]()

    def refuse(handler: BaseHTTPRequestHandler) -> None:
        seen.append(_login(handler))
        handler.wfile.write(f"HTTP/1.1 407 not for {seen[-1]}\r\nContent-Length: 0\r\n\r\n".encode())

    proxy.answers(refuse)
    said = _all_said(_endpoint("https://node7:8000/v1", trust_env=True))
    assert "the proxy of the environment failed (Tunnel connection failed: 407 not for Basic" in said
    assert not reveals(said, seen[0].split()[1])


def test_an_address_of_a_proxy_that_is_none_is_shown_without_its_login(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://me:pw1@[oops:3128")
    monkeypatch.setenv("NO_PROXY", "")
    assert "pw1" not in _all_said(_endpoint("http://node7:8000/v1", trust_env=True))


def test_how_an_endpoint_is_reached_is_shown_without_the_key() -> None:
    assert KEY not in repr(Connection(KEY, None, False, 1.0))
    with pytest.raises(TransportError) as failed:
        send(Connection(KEY, None, False, 5.0), "GET", "http://me:pw1@[oops/v1")
    assert "pw1" not in str(failed.value)


def test_neither_ledger_nor_transcript_nor_pause_holds_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faulty_server: FaultyServer
) -> None:
    desk = Desk(tmp_path / "run", monkeypatch, reviewer=False, analyst=False)
    endpoint = _endpoint(faulty_server.base_url, requests_per_turn=40)
    monkeypatch.setattr("mlipilot.controller.proposals.open_pilot", lambda *_: nullcontext(endpoint))
    echoes = [PLACES["content"](f"{write(KEY)} {KEY}") for write in FORMS.values()]
    echoes += [PLACES[place](KEY) for place in ("parts", "name", "call")]
    said = list[str]()
    for at in range(0, len(echoes), 2):
        faulty_server.answers(*echoes[at : at + 2], PLACES["error 401"](KEY))
        desk.open()
        try:
            desk.proposals.ask(1, desk.state())
        except PausedError as paused:
            said.append(str(paused))
    kept = [json.loads(line) for line in desk.lineage.transcript.read_text().splitlines()]
    assert len(kept) == len(echoes)
    newest = [json.dumps([entry["request"]["messages"][-2:], entry["reply"]]) for entry in kept]
    files = [path for path in desk.run.root.rglob("*") if path.is_file() and path != desk.lineage.transcript]
    for text in [*said, *newest, *(path.read_text(errors="replace") for path in files)]:
        assert not reveals(text, KEY[:8])


def test_an_address_may_not_hold_the_key_that_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlipilot.endpoint.address import find_address
    from mlipilot.endpoint.endpoint_settings import EndpointSettings

    monkeypatch.setenv("OPENAI_API_KEY", "my-own-words")
    for form in ("plain", "upper", "URL, all", "base64 for URLs", "hexadecimal"):
        address = f"http://node7:8000/{FORMS[form]('my-own-words')}/v1"
        monkeypatch.setenv("OPENAI_BASE_URL", address)
        for settings in (EndpointSettings(), EndpointSettings.model_construct(base_url=address)):
            with pytest.raises(InputError, match=r"(base_url|OPENAI_BASE_URL): a part of the ad") as refused:
                find_address(settings, None)
            assert not reveals(str(refused.value), "my-own-words")
