"""A pilot without a language model, served on loopback as an OpenAI-compatible endpoint.

So it is driven like any other pilot. Tokens are counted as characters divided by four.
"""

from __future__ import annotations

import hashlib
import json
import socketserver
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, cast

from mlipilot.endpoint.parsing import ToolCall
from mlipilot.endpoint.tool_entries import call_entry
from mlipilot.endpoint.trial import TRIAL_TOOL
from mlipilot.errors import InputError

HOST = "127.0.0.1"
MAX_REQUEST_BYTES = 16 * 1024 * 1024
_CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True)
class Decider:
    """What answers: a function of the conversation alone."""

    name: str
    """The model's name at this endpoint, and what it says of itself."""
    tools: frozenset[str]
    """The tools without which it cannot work."""
    next_call: Callable[[list[Any], list[Any]], ToolCall]
    """The next tool call of a conversation, given as the request's messages and tools."""


class LoopbackServer:
    """The server, in a thread for as long as the `with` block lasts.

    `port` 0 takes a free one. Raises InputError when the port is taken.
    """

    def __init__(self, decider: Decider, port: int = 0) -> None:
        self._server = _bound(decider, port)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def base_url(self) -> str:
        """What a client takes as its base URL."""
        return self._server.base_url

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def serve_until_interrupted(decider: Decider, port: int, announce: Callable[[str], None]) -> None:
    """Serve in this thread until Ctrl-C; `announce` is given the base URL once requests are answered."""
    server = _bound(decider, port)
    try:
        announce(server.base_url)
        server.serve_forever()
    except KeyboardInterrupt:
        return
    finally:
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, decider: Decider, port: int) -> None:
        self.decider = decider
        super().__init__((HOST, port), _Handler)

    @property
    def base_url(self) -> str:
        return f"http://{HOST}:{self.server_port}/v1"

    def server_bind(self) -> None:
        # HTTPServer's own would ask a name server for this machine's name, which may take seconds
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]


def _bound(decider: Decider, port: int) -> _Server:
    try:
        return _Server(decider, port)
    except (OSError, OverflowError) as error:
        raise InputError(f"cannot listen on {HOST}:{port}: {error}", mend="choose another --port") from None


class _RequestError(Exception):
    """The request cannot be answered; holds the HTTP status and the reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    timeout = 30
    server_version = "mlipilot"
    sys_version = ""

    def do_GET(self) -> None:
        self._answer({"/health": lambda: {"status": "ok"}, "/v1/models": self._models})

    def do_POST(self) -> None:
        self._answer({"/v1/chat/completions": self._completion})

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the controller's transcript holds every exchange."""

    def _models(self) -> dict[str, Any]:
        name = cast(_Server, self.server).decider.name
        entry = {"id": name, "object": "model", "created": 0, "owned_by": "mlipilot"}
        return {"object": "list", "data": [entry]}

    def _completion(self) -> dict[str, Any]:
        return complete(self._body(), cast(_Server, self.server).decider)

    def _body(self) -> Any:
        length = self.headers.get("Content-Length") or ""
        if not length.isdigit():
            raise _RequestError(411, "Content-Length is missing")
        if int(length) > MAX_REQUEST_BYTES:
            raise _RequestError(413, "the request is too large")
        try:
            return json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            raise _RequestError(400, "the body is not JSON") from None

    def _answer(self, routes: dict[str, Callable[[], dict[str, Any]]]) -> None:
        try:
            route = routes.get(self.path.partition("?")[0])
            if route is None:
                raise _RequestError(404, f"there is no {self.command} {self.path[:100]}")
            status, content = 200, route()
        except _RequestError as error:
            status, content = error.status, _error(str(error))
        except Exception as error:  # noqa: BLE001 - whatever a request holds, its sender gets an answer
            status, content = 400, _error(f"the conversation cannot be read ({type(error).__name__})")
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def complete(request: Any, decider: Decider) -> dict[str, Any]:
    """The answer of `/chat/completions` to a parsed request. Raises _RequestError for what it cannot do."""
    if not isinstance(request, dict) or not isinstance(request.get("messages"), list):
        raise _RequestError(400, "messages must be a list")
    if request.get("stream"):
        raise _RequestError(400, f"the {decider.name} pilot does not stream: leave stream out")
    offered = {tool["function"]["name"] for tool in request.get("tools") or []}
    if TRIAL_TOOL in offered:  # a client finds out whether tools can be called here
        trial = _calling(ToolCall(TRIAL_TOOL, {"colour": "blue"}), request)
        return _completion(decider.name, request, trial, "tool_calls")
    if not offered >= decider.tools:
        names = ", ".join(sorted(decider.tools))
        said = f"I am the {decider.name} pilot, no language model; I only call tools: {names}."
        return _completion(decider.name, request, {"role": "assistant", "content": said}, "stop")
    message = _calling(decider.next_call(request["messages"], request["tools"]), request)
    return _completion(decider.name, request, message, "tool_calls")


def _calling(call: ToolCall, request: dict[str, Any]) -> dict[str, Any]:
    entry = call_entry(f"s{len(request['messages']):08d}", call.name, call.arguments)
    return {"role": "assistant", "content": None, "tool_calls": [entry]}


def _completion(name: str, request: dict[str, Any], message: dict[str, Any], reason: str) -> dict[str, Any]:
    asked = json.dumps(request, sort_keys=True)
    prompt_tokens = 1 + len(asked) // _CHARACTERS_PER_TOKEN
    completion_tokens = 1 + len(json.dumps(message)) // _CHARACTERS_PER_TOKEN
    return {
        "id": f"chatcmpl-{name}-{hashlib.sha256(asked.encode()).hexdigest()[:16]}",
        "object": "chat.completion",
        "created": 0,  # no clock: the same request gets the same answer, byte for byte
        "model": name,
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
        },
    }


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}
