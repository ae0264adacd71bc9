"""One request on the wire: its limits of time and size, redirects, proxies, logins, certificates."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlipilot.endpoint.client import Endpoint
from mlipilot.errors import InputError, PausedError
from mlipilot.pilots.pilot_settings import PilotSettings
from tests.endpoint import faulty_server as faulty
from tests.endpoint.asking import GOOD, KEY, MESSAGES, endpoint_at
from tests.endpoint.faulty_server import Behaviour, FaultyServer


@pytest.mark.parametrize(
    "fault",
    [faulty.silence, faulty.trickling_body(), faulty.trickling_headers()],
    ids=["silence", "body", "headers"],
)
def test_no_reply_outlives_the_wall_clock_limit(faulty_server: FaultyServer, fault: Behaviour) -> None:
    faulty_server.answers(fault)
    with pytest.raises(PausedError, match=r"no complete reply within 0\.4 s"):
        endpoint_at(faulty_server.base_url, request_timeout_s=0.4, max_retries=0).complete(MESSAGES, [])


def test_a_reply_without_end_is_cut_off(faulty_server: FaultyServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlipilot.endpoint.transport.MAX_REPLY_BYTES", 2**20)
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
    monkeypatch.setattr("mlipilot.endpoint.transport.MAX_REPLY_BYTES", 2**20)
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
