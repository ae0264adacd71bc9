"""One HTTP request within a wall-clock limit: connecting, sending and the last byte of the reply included."""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from requests.auth import AuthBase
from urllib3.exceptions import HTTPError

from mlipilot.confidential import hidden
from mlipilot.untrusted import one_line

MAX_REPLY_BYTES = 16 * 1024 * 1024


class TransportError(Exception):
    """No complete reply came; the text says why, without addresses of objects and without the key."""


@dataclass(frozen=True)
class RawReply:
    """A complete reply: status, the headers that matter, the body as received."""

    status: int
    retry_after: str | None
    location: str | None
    body: bytes


@dataclass(frozen=True)
class Connection:
    """How the endpoint is reached."""

    api_key: str | None = field(repr=False)
    ca_bundle: Path | None
    trust_env: bool
    deadline_s: float


class _Bearer(AuthBase):
    """Sets the key. As an `auth` object it also keeps requests from taking a login out of ~/.netrc."""

    def __init__(self, key: str | None) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request


def send(connection: Connection, method: str, url: str, body: bytes | None = None) -> RawReply:
    """The reply to one request. Raises TransportError.

    The request runs in a thread of its own, because the time-out of a socket restarts with every byte: a
    reply that trickles, in its headers or its body, would outlive it.
    """
    mailbox: queue.SimpleQueue[RawReply | Exception] = queue.SimpleQueue()
    line = _Line()
    arguments = (connection, method, url, body, line, mailbox)
    threading.Thread(target=_deliver, args=arguments, daemon=True).start()
    try:
        result = mailbox.get(timeout=connection.deadline_s)
    except queue.Empty:
        line.hang_up()
        raise TransportError(f"no complete reply within {connection.deadline_s:g} s") from None
    # All of requests' own errors are OSErrors; what it cannot read may end in a ValueError.
    if isinstance(result, (OSError, HTTPError, ValueError)):
        raise TransportError(_plain_reason(result, connection)) from None
    if isinstance(result, Exception):
        raise result
    return result


class _Session(requests.Session):
    """A session to which a redirect is an answer like any other.

    requests reads its whole body and its target even where it is not to follow it.
    """

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002 - requests' own
        """None: to nowhere."""
        return None


class _Line:
    """The open connection of one request, so that another thread can end it."""

    def __init__(self) -> None:
        self._response: requests.Response | None = None
        self.is_ended = False

    def opened(self, response: requests.Response) -> None:
        self._response = response

    def hang_up(self) -> None:
        self.is_ended = True
        shutdown = getattr(self._response and self._response.raw, "shutdown", None)  # urllib3 >= 2.3
        if shutdown is not None:
            try:
                shutdown()
            except (OSError, ValueError, RuntimeError):
                return  # it closed by itself in the meantime


def _deliver(
    connection: Connection,
    method: str,
    url: str,
    body: bytes | None,
    line: _Line,
    mailbox: queue.SimpleQueue[RawReply | Exception],
) -> None:
    try:
        mailbox.put(_request(connection, method, url, body, line))
    except Exception as error:  # noqa: BLE001 - it is raised again in the thread that waits
        mailbox.put(error)


def _request(connection: Connection, method: str, url: str, body: bytes | None, line: _Line) -> RawReply:
    with _Session() as session:
        session.trust_env = connection.trust_env
        with session.request(
            method,
            url,
            data=body,
            headers={"Content-Type": "application/json", "Accept": "application/json"},
            auth=_Bearer(connection.api_key),
            timeout=connection.deadline_s,
            verify=str(connection.ca_bundle) if connection.ca_bundle else True,
            allow_redirects=False,  # a redirect would carry prompts, and perhaps the key, elsewhere
            stream=True,
        ) as response:
            line.opened(response)
            return RawReply(
                status=response.status_code,
                retry_after=response.headers.get("Retry-After"),
                location=response.headers.get("Location"),
                body=_body(response, line),
            )


def _body(response: requests.Response, line: _Line) -> bytes:
    body = bytearray()
    for chunk in response.iter_content(chunk_size=4096):
        body += chunk
        if line.is_ended:
            break
        if len(body) > MAX_REPLY_BYTES:
            raise TransportError(f"the reply is longer than {MAX_REPLY_BYTES // 2**20} MiB")
    return bytes(body)


def _plain_reason(error: Exception, connection: Connection) -> str:
    cause = _innermost(error)
    said = one_line(hidden(str(cause)), 300) or type(cause).__name__  # it may quote what the server wrote
    if isinstance(error, requests.exceptions.SSLError):
        return f"TLS failed ({said}); set ca_bundle if the site has its own certificate authority"
    if isinstance(error, requests.exceptions.ProxyError):
        return f"the proxy of the environment failed ({said}); trust_env: false goes around it"
    if isinstance(error, requests.exceptions.Timeout):
        return f"no complete reply within {connection.deadline_s:g} s"
    return said


def _innermost(error: BaseException) -> BaseException:
    """The operating system's own error below the wrappers, whose texts are for programmers."""
    seen: Any = error
    for _ in range(10):
        said = (getattr(seen, "reason", None), *seen.args)
        below = next((each for each in said if isinstance(each, BaseException)), None)
        below = below or seen.__cause__ or seen.__context__
        if below is None:
            break
        seen = below
    return seen if isinstance(seen, BaseException) else error
