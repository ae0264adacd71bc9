"""A loopback endpoint that misbehaves to order: POSTs as listed (the last behaviour stays), GETs by path."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, cast

Behaviour = Callable[[BaseHTTPRequestHandler], None]


class FaultyServer:
    def __init__(self) -> None:
        self.behaviours: list[Behaviour] = []
        self.pages: dict[str, Behaviour] = {}
        self.looks: list[str] = []
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.stop = threading.Event()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def answers(self, *behaviours: Behaviour) -> None:
        self.behaviours = list(behaviours)

    def __enter__(self) -> FaultyServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, owner: FaultyServer) -> None:
        self.owner = owner
        super().__init__(("127.0.0.1", 0), _Handler)


def owner_of(handler: BaseHTTPRequestHandler) -> FaultyServer:
    return cast(_Server, handler.server).owner


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        owner = owner_of(self)
        length = int(self.headers.get("Content-Length") or 0)
        owner.requests.append(json.loads(self.rfile.read(length) or b"{}"))
        owner.headers.append(dict(self.headers))
        self._behave(owner.behaviours.pop(0) if len(owner.behaviours) > 1 else owner.behaviours[0])

    def do_GET(self) -> None:
        owner = owner_of(self)
        owner.looks.append(self.path)
        owner.headers.append(dict(self.headers))
        self._behave(owner.pages.get(self.path, error(404)))

    def do_CONNECT(self) -> None:
        owner_of(self).headers.append(dict(self.headers))
        self._behave(owner_of(self).behaviours[0])

    def _behave(self, behaviour: Behaviour) -> None:
        try:
            behaviour(self)
        except OSError:
            return  # the client hung up, as some of the tests want

    def log_message(self, format: str, *args: Any) -> None:
        pass


def body(data: bytes, status: int = 200, **headers: str) -> Behaviour:
    def behave(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return behave


def json_body(content: Any, status: int = 200, **headers: str) -> Behaviour:
    return body(json.dumps(content).encode(), status, **headers)


def error(status: int, message: str = "no", **headers: str) -> Behaviour:
    return json_body({"error": {"message": message}}, status, **headers)


def message(content: Any = None, *, finish_reason: str = "stop", **fields: Any) -> Behaviour:
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **fields}}
    return json_body({"choices": [choice | {"finish_reason": finish_reason}]})


def call(name: str, **arguments: Any) -> Behaviour:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return message(tool_calls=[{"id": "x", "type": "function", "function": function}])


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.close()


def silence(handler: BaseHTTPRequestHandler) -> None:
    owner_of(handler).stop.wait()


def trickle(head: bytes, drop: bytes) -> Behaviour:
    """`head` at once, then `drop` every 50 ms: each byte restarts a socket's time-out."""

    def behave(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(head)
        while not owner_of(handler).stop.is_set():
            handler.wfile.write(drop)
            handler.wfile.flush()
            time.sleep(0.05)

    return behave


def trickling_body() -> Behaviour:
    return trickle(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n", b" ")


def trickling_headers() -> Behaviour:
    return trickle(b"HTTP/1.0 200 OK\r\nX-Slow: ", b"z")
