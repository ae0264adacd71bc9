"""Requests to one address: patient with faults that pass, clear about others, silent about the key."""

from __future__ import annotations

import dataclasses
import email.utils
import json
import math
import random
import re
import time
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from mlipilot.confidential import hidden, hidden_in, keep, keep_proxies
from mlipilot.endpoint.endpoint_settings import EndpointSettings
from mlipilot.endpoint.exchange import RequestRefusedError
from mlipilot.endpoint.refusals import is_clear
from mlipilot.endpoint.transport import Connection, RawReply, TransportError, send
from mlipilot.errors import InputError, PausedError
from mlipilot.untrusted import clean, one_line

Read = TypeVar("Read")
MAX_WAIT_S = 60.0
"""The longest wait of the backoff."""
MAX_RETRY_AFTER_S = 900.0
"""An endpoint that asks for a longer wait pauses the lineage instead."""
LOOK_TIMEOUT_S = 10.0
"""Of a page that is looked at in passing, such as /health."""

_PASSING = frozenset({408, 409, 425, 429, 502, 503, 504, 529})
_LOADING = re.compile(r"loading|starting|not ready|warming up", re.IGNORECASE)
_ADVICE = {
    400: "it does not accept the request",
    401: "it does not accept the API key; set the variable {key_variable}",
    403: "it forbids the request; check the key in {key_variable} and the model's permissions",
    404: "it has no such address or model; check base_url (it usually ends with /v1) and model",
}


class FaultError(Exception):
    """A request failed in a way that may pass."""

    def __init__(
        self, reason: str, *, wait_s: float = 0.0, is_loading: bool = False, status: int | None = None
    ) -> None:
        super().__init__(reason)
        self.wait_s = wait_s
        self.is_loading = is_loading
        self.status = status
        """Of a failure that is tried again only once, because it seldom passes."""


class Caller:
    """Asks one address. Keys are taken out of every text that leaves (`mlipilot/confidential.py`).

    `until` is a reading of the monotonic clock after which nothing is asked any more.
    """

    def __init__(
        self, base_url: str, api_key: str | None, settings: EndpointSettings, until: float | None = None
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.settings = settings
        self._root = urlunsplit((*urlsplit(self.base_url)[:2], "", "", ""))
        self._key = (api_key or "").strip() or None
        self._until = until
        if self._key and not (self._key.isascii() and self._key.isprintable()):
            raise InputError(
                f"the API key in {settings.api_key_env} holds characters that no header may hold",
                mend=f"set {settings.api_key_env} to the key alone",
            )
        if settings.ca_bundle is not None and not settings.ca_bundle.is_file():
            raise InputError(
                f"ca_bundle: there is no file {settings.ca_bundle}", mend="correct it, or leave it out"
            )
        keep(self._key)
        if settings.trust_env:
            keep_proxies()
        self._connection = Connection(
            self._key, settings.ca_bundle, settings.trust_env, settings.request_timeout_s
        )

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None,
        read: Callable[[dict[str, Any]], Read],
        model: str = "",
    ) -> tuple[Read, float]:
        """The answer as `read` reads it and its duration in s, over as many tries as the settings allow.

        `read` raises FaultError for an answer that is none. Raises RequestRefusedError for a request that no
        try will bring through, PausedError when the endpoint cannot be had.
        """
        tries, seen, loading_until = 0, set[int | None](), None
        while True:
            tries += 1
            started = time.monotonic()
            try:
                raw = send(self._limited(self.settings.request_timeout_s), method, self.base_url + path, body)
                return read(self._answered(raw, model)), time.monotonic() - started
            except TransportError as error:
                fault = FaultError(str(error))
            except FaultError as error:
                fault = error
            if fault.is_loading and loading_until is None:
                loading_until = time.monotonic() + self.settings.loading_patience_s
                self._await_loaded(loading_until, fault, model)
                tries -= 1  # what a model that loads answers is no failed try
                continue
            self._give_up_if_spent(fault, tries, seen, model)
            seen.add(fault.status)
            time.sleep(max(fault.wait_s, self._backoff_s(tries)))

    def look(self, path: str, *, from_root: bool = False) -> Any:
        """What a page holds as JSON, by one request without patience; None for whatever is no such page."""
        raw = self._page((self._root if from_root else self.base_url) + path)
        return plain(_from_json(_decoded(raw))) if raw is not None and raw.status == 200 else None

    def paused(self, reason: str, model: str = "") -> PausedError:
        """The error that says why no reply can be had, though one may be had later."""
        return PausedError(self._told(reason, model), mends_by_itself=True)

    def _told(self, reason: str, model: str) -> str:
        with_model = f" with model {model!r}" if model else ""
        return hidden(clean(f"the endpoint {self.base_url}{with_model}: {reason}"))

    def _limited(self, timeout_s: float) -> Connection:
        left = math.inf if self._until is None else self._until - time.monotonic()
        if left <= 0:
            raise self.paused("the time for asking it is used up")
        return dataclasses.replace(self._connection, deadline_s=min(timeout_s, left))

    def _page(self, url: str) -> RawReply | None:
        timeout_s = min(LOOK_TIMEOUT_S, self.settings.request_timeout_s)
        try:
            return send(self._limited(timeout_s), "GET", url)
        except TransportError:
            return None

    def _give_up_if_spent(self, fault: FaultError, tries: int, seen: set[int | None], model: str) -> None:
        told = f"{fault} (tried {tries} time{'s' if tries > 1 else ''})"
        if fault.status is not None and (fault.status in seen or tries > self.settings.max_retries):
            raise RequestRefusedError(self._told(told, model), fault.status, str(fault))
        if tries > self.settings.max_retries or fault.wait_s > MAX_RETRY_AFTER_S:
            raise self.paused(told, model)

    def _await_loaded(self, until: float, fault: FaultError, model: str) -> None:
        """Return once the endpoint no longer says that it loads. Raises PausedError when patience ends."""
        polls = 0
        while self._is_loading():
            polls += 1
            wait_s = min(self._backoff_s(polls), LOOK_TIMEOUT_S)
            if time.monotonic() + wait_s > until:
                patience_s = self.settings.loading_patience_s
                raise self.paused(f"{fault} (not ready within {patience_s:g} s: loading_patience_s)", model)
            time.sleep(wait_s)

    def _is_loading(self) -> bool:
        """By /health, or by the list of models where there is no such page."""
        for url in (f"{self._root}/health", f"{self.base_url}/models"):
            page = self._page(url)
            if page is None or page.status in (200, 503):
                return page is None or page.status == 503
        return False

    def _backoff_s(self, tries: int) -> float:
        """Doubling, capped, and spread so that many lineages do not knock at the same moment."""
        ceiling = min(MAX_WAIT_S, self.settings.backoff_s * 2.0 ** min(tries - 1, 16))
        return ceiling * random.uniform(0.5, 1.0)  # noqa: S311 - spreading, not secrecy

    def _answered(self, raw: RawReply, model: str) -> dict[str, Any]:
        """The JSON object of a good answer. Raises FaultError, RequestRefusedError where no retry helps."""
        if 300 <= raw.status < 400:
            raise self.paused(f"it redirects to {_target(raw.location)}; set base_url to that", model)
        content = plain(_from_json(_decoded(raw)))
        text = _shown(_decoded(raw)) if content is None else json.dumps(content, ensure_ascii=False)
        if raw.status < 300:
            if isinstance(content, dict):
                return content
            raise FaultError(f"the answer is not a JSON object{_excerpt(text)}")
        said = f"HTTP {raw.status}{error_text(content) or _excerpt(text)}"
        if raw.status in _PASSING:
            is_loading = raw.status == 503 and _LOADING.search(text[:2000]) is not None
            raise FaultError(said, wait_s=_wait_s(raw.retry_after), is_loading=is_loading)
        if not is_clear(raw.status, text):
            raise FaultError(said, status=raw.status)
        advice = _ADVICE.get(raw.status, "it does not accept the request")
        if raw.status in (401, 403) and self._key is None and self.settings.api_key_env is None:
            advice = "it wants an API key, and api_key_env names no variable that holds one"
        advice = advice.format(key_variable=self.settings.api_key_env)
        raise RequestRefusedError(self._told(f"{advice} ({said})", model), raw.status, text)


def plain(value: Any) -> Any:
    """A value read from JSON, without keys, and without what canonical JSON has no form for."""
    return hidden_in(_canonical(value))


def _decoded(raw: RawReply) -> str:
    return raw.body.decode("utf-8", errors="replace")


def _shown(text: str) -> str:
    """What is no JSON as a whole, without keys; of a stream, whose events may each hold a piece, those."""
    lines = (_from_json(line.removeprefix("data:")) for line in text.splitlines())
    events = [line for line in lines if isinstance(line, dict)]
    return json.dumps(plain(events), ensure_ascii=False) if events else hidden(text)


def _from_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _canonical(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", errors="replace").decode("utf-8")
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, dict):
        return {_canonical(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, int) and abs(value) >= 2**53:
        return str(value)
    return value


def error_text(content: Any) -> str:
    """What the endpoint says went wrong, wherever it says so."""
    said = content if isinstance(content, dict) else {}
    error = said.get("error", said.get("detail", said.get("message")))
    message = error.get("message") if isinstance(error, dict) else error
    return f": {one_line(str(message), 400)}" if message else ""


def _target(location: str | None) -> str:
    """Where a redirect leads, without a login, and without what behind the path may be a secret."""
    try:
        target = urlsplit(location or "")
    except ValueError:
        return "what is no address"
    shown = one_line(hidden(urlunsplit((target[0], target[1].rpartition("@")[2], target[2], "", ""))), 200)
    return shown or "an address that it does not tell"


def _excerpt(text: str) -> str:
    shown = one_line(text[:2000], 120)
    return f": {shown!r}" if shown else " (it is empty)"


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
