"""An OpenAI-compatible endpoint: patient with faults that pass, clear about those that do not."""

from __future__ import annotations

import email.utils
import json
import math
import random
import time
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from mlipilot.errors import InputError, PausedError
from mlipilot.pilots.endpoint.transport import Connection, RawReply, TransportError, send
from mlipilot.pilots.settings import EndpointSettings
from mlipilot.untrusted import one_line

MAX_WAIT_S = 60.0
"""The longest wait of the backoff."""
MAX_RETRY_AFTER_S = 900.0
"""An endpoint that asks for a longer wait pauses the lineage instead."""

_PASSING = frozenset({408, 409, 425, 429, 502, 503, 504, 529})
_ADVICE = {
    400: "it does not accept the request",
    401: "it does not accept the API key; set the variable {key_variable}",
    403: "it forbids the request; check the key in {key_variable} and the model's permissions",
    404: "it has no such address or model; check base_url (it usually ends with /v1) and model",
}


@dataclass(frozen=True)
class Exchange:
    """One request and its reply, as sent and received; neither headers nor key are part of it."""

    request: dict[str, Any]
    reply: dict[str, Any]
    prompt_tokens: int
    """As the endpoint counts them; 0 when it does not say."""
    completion_tokens: int
    """As the endpoint counts them; 0 when it does not say."""
    duration_s: float
    """Of the request that was answered; failed ones and waits before it are not counted."""

    @property
    def message(self) -> dict[str, Any]:
        """The assistant's message."""
        message: dict[str, Any] = self.reply["choices"][0]["message"]
        return message

    @property
    def finish_reason(self) -> str | None:
        """Why the endpoint says that the reply ended; not to be trusted alone."""
        reason = self.reply["choices"][0].get("finish_reason")
        return reason if isinstance(reason, str) else None


class Completer(Protocol):
    """Whatever answers a conversation: an endpoint, or the record of one."""

    def complete(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> Exchange:
        """The reply to a conversation. Raises PausedError when none can be had."""
        ...


class _FaultError(Exception):
    """A request failed in a way that may pass."""

    def __init__(self, reason: str, *, wait_s: float = 0.0, only_once: bool = False) -> None:
        super().__init__(reason)
        self.wait_s = wait_s
        self.only_once = only_once


class Endpoint:
    """Asks one model at one address. The key is held here only, and taken out of every text that leaves."""

    def __init__(self, base_url: str, model: str, api_key: str | None, settings: EndpointSettings) -> None:
        self.base_url = base_url.rstrip("/")
        self.model = model
        self.settings = settings
        self._key = (api_key or "").strip() or None
        if self._key and not (self._key.isascii() and self._key.isprintable()):
            raise InputError(
                f"the API key in {settings.api_key_env} holds characters that no header may hold"
            )
        if settings.ca_bundle is not None and not settings.ca_bundle.is_file():
            raise InputError(f"ca_bundle: there is no file {settings.ca_bundle}")
        self._connection = Connection(
            self._key, settings.ca_bundle, settings.trust_env, settings.request_timeout_s
        )

    def __repr__(self) -> str:
        return f"Endpoint({self.base_url!r}, {self.model!r})"

    def complete(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> Exchange:
        """The model's reply to a conversation. Raises PausedError when none can be had."""
        request: dict[str, Any] = {"model": self.model, "messages": messages, "tools": tools}
        request[self.settings.max_tokens_field] = self.settings.max_tokens
        if self.settings.temperature is not None:
            request["temperature"] = self.settings.temperature
        sent = json.dumps(request, ensure_ascii=False).encode("utf-8", errors="replace")
        reply, duration_s = self._patiently("POST", "/chat/completions", sent)
        return Exchange(
            # read back from what was sent, because the conversation goes on growing
            request=self._plain(json.loads(sent)),
            reply=reply,
            prompt_tokens=_tokens(reply, "prompt_tokens"),
            completion_tokens=_tokens(reply, "completion_tokens"),
            duration_s=duration_s,
        )

    def models(self) -> list[str]:
        """The names of the models that the endpoint says it serves. Raises PausedError."""
        reply, _ = self._patiently("GET", "/models", None)
        return [entry["id"] for entry in reply["data"]]

    def _patiently(self, method: str, path: str, body: bytes | None) -> tuple[dict[str, Any], float]:
        """The checked reply and its duration, over as many tries as the settings allow."""
        check = _check_models if path == "/models" else _check_completion
        tries, once_spent = 0, False
        while True:
            tries += 1
            started = time.monotonic()
            try:
                reply = self._answered(send(self._connection, method, self.base_url + path, body))
                check(reply)
                return reply, time.monotonic() - started
            except TransportError as error:
                fault = _FaultError(str(error))
            except _FaultError as error:
                fault = error
            spent = fault.only_once and once_spent
            once_spent = once_spent or fault.only_once
            if spent or tries > self.settings.max_retries or fault.wait_s > MAX_RETRY_AFTER_S:
                raise self._paused(f"{fault} (tried {tries} time{'s' if tries > 1 else ''})")
            time.sleep(max(fault.wait_s, self._backoff_s(tries)))

    def _backoff_s(self, tries: int) -> float:
        """Doubling, capped, and spread so that many lineages do not knock at the same moment."""
        ceiling = min(MAX_WAIT_S, self.settings.backoff_s * 2.0 ** min(tries - 1, 16))
        return ceiling * random.uniform(0.5, 1.0)  # noqa: S311 - spreading, not secrecy

    def _answered(self, raw: RawReply) -> dict[str, Any]:
        """The JSON object of a good answer. Raises _FaultError, or PausedError where no retry can help."""
        if 300 <= raw.status < 400:
            target = urlsplit(raw.location or "")
            raise self._paused(
                f"it redirects to {target.scheme}://{target.netloc}{target.path}; set base_url to that"
            )
        text = self._redacted(raw.body.decode("utf-8", errors="replace"))
        content = self._json(text)
        if raw.status < 300:
            if isinstance(content, dict):
                return content
            raise _FaultError(f"the answer is not a JSON object{_excerpt(text)}")
        said = f"HTTP {raw.status}{_error_text(content) or _excerpt(text)}"
        if raw.status in _PASSING:
            raise _FaultError(said, wait_s=_wait_s(raw.retry_after))
        if raw.status >= 500:
            raise _FaultError(said, only_once=True)
        advice = _ADVICE.get(raw.status, "it does not accept the request")
        raise self._paused(f"{advice.format(key_variable=self.settings.api_key_env)} ({said})")

    def _json(self, text: str) -> Any:
        """The text as JSON that any JSON writer takes back, or None when it is no JSON."""
        try:
            return self._plain(json.loads(text))
        except (ValueError, RecursionError):
            return None

    def _plain(self, value: Any) -> Any:
        """`value` without the key, and without what canonical JSON has no form for."""
        if isinstance(value, str):
            return self._redacted(value).encode("utf-8", errors="replace").decode("utf-8")
        if isinstance(value, list):
            return [self._plain(item) for item in value]
        if isinstance(value, dict):
            return {self._plain(key): self._plain(item) for key, item in value.items()}
        if isinstance(value, float) and not math.isfinite(value):
            return None
        if isinstance(value, int) and abs(value) > 2**53:
            return str(value)
        return value

    def _redacted(self, text: str) -> str:
        # Shorter "keys" are placeholders such as EMPTY or none, for endpoints that want any key at all.
        return text.replace(self._key, "[API key]") if self._key and len(self._key) >= 6 else text

    def _paused(self, reason: str) -> PausedError:
        model = f" with model {self.model!r}" if self.model else ""
        return PausedError(self._redacted(f"the endpoint {self.base_url}{model}: {reason}"))


def _check_completion(reply: dict[str, Any]) -> None:
    choices = reply.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(first, dict) or not isinstance(first.get("message"), dict):
        # some servers answer 200 with an error while they load the model
        raise _FaultError(f"the answer has no message{_error_text(reply)}")


def _check_models(reply: dict[str, Any]) -> None:
    entries = reply.get("data")
    named = isinstance(entries, list) and all(
        isinstance(e, dict) and isinstance(e.get("id"), str) for e in entries
    )
    if not named:
        raise _FaultError(f"the answer is no list of models{_error_text(reply)}")


def _tokens(reply: dict[str, Any], field: str) -> int:
    usage = reply.get("usage")
    count = usage.get(field) if isinstance(usage, dict) else None
    return count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else 0


def _wait_s(retry_after: str | None) -> float:
    """Seconds of a Retry-After header, which holds either seconds or a date; 0 for none."""
    if retry_after is None:
        return 0.0
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def _error_text(content: Any) -> str:
    """What the endpoint says went wrong, wherever it says so."""
    error = content.get("error", content.get("detail")) if isinstance(content, dict) else None
    message = error.get("message") if isinstance(error, dict) else error
    return f": {one_line(str(message), 400)}" if message else ""


def _excerpt(text: str) -> str:
    shown = one_line(text[:2000], 120)
    return f": {shown!r}" if shown else " (it is empty)"
