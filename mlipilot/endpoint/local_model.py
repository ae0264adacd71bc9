"""A GGUF file served by llama.cpp's own server, from the `xllamacpp` wheel: a model without internet."""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlipilot.audit.files import SECRET, write_json
from mlipilot.confidential import LEAST, keep
from mlipilot.errors import InputError

TOKEN_VARIABLE = "MLIPILOT_ENDPOINT_TOKEN"  # noqa: S105 - its name
"""Holds the token in the environment, where a command line would show it to everyone on the node."""
_MAGIC = b"GGUF"
_EXTRA = "pip install 'mlipilot[local-llm]'"


@dataclass(frozen=True)
class ModelSettings:
    """How a GGUF file is served."""

    gguf: Path
    host: str = "127.0.0.1"
    port: int = 0
    """0 takes a free one."""
    context_tokens: int = 16384
    """Of one conversation; more needs more memory."""
    threads: int = 2
    gpu_layers: int = 0
    """How many layers lie on the GPU; needs a wheel of xllamacpp with CUDA."""
    parallel: int = 1
    """How many conversations are answered side by side."""


class LocalModel:
    """llama.cpp's server in this process, for as long as it lives.

    Raises InputError for a file that is no GGUF, or when the extra is not installed.
    """

    def __init__(self, settings: ModelSettings, token: str | None) -> None:
        _check(settings)
        # Cores are shared here: a thread that waits must not spin (a tenth of the speed, measured on two).
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        os.environ.setdefault("GOMP_SPINCOUNT", "0")
        self._server = _start(settings, token)
        self.model = settings.gguf.stem

    @property
    def base_url(self) -> str:
        """What a client takes as its base URL."""
        return f"{self._server.listening_address}/v1"


def serve_gguf(settings: ModelSettings, published: Path | None, announce: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM.

    With `published`, the file of a run's endpoint, requests need a token, and that file says address and
    token for as long as the model is served. Who starts this may have chosen the token: `TOKEN_VARIABLE`.
    Raises InputError for a token that is guessed, and for what cannot be served.
    """
    chosen = os.environ.pop(TOKEN_VARIABLE, None)
    if chosen is not None and not keep(chosen):
        raise InputError(
            f"the token in {TOKEN_VARIABLE} is guessed in no time", mend=f"one of {LEAST} characters or more"
        )
    token = None if published is None else chosen or secrets.token_urlsafe(32)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    model = LocalModel(settings, token)
    announce(model.base_url)
    try:
        if published is not None:
            write_json(published, {"base_url": model.base_url, "token": token}, mode=SECRET)
        ended.wait()
    finally:
        if published is not None and _says(published, token):
            published.unlink(missing_ok=True)


def _says(published: Path, token: str | None) -> bool:
    """Whether it is this server that is published: where its node was lost for a while, another may be."""
    try:
        return bool(json.loads(published.read_text(encoding="utf-8"))["token"] == token)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _check(settings: ModelSettings) -> None:
    try:
        with settings.gguf.open("rb") as stream:
            magic = stream.read(len(_MAGIC))
    except OSError as error:
        mend = "give the file of a model in llama.cpp's format that you may read"
        raise InputError(f"cannot be read: {error.strerror}", file=settings.gguf, mend=mend) from None
    if magic != _MAGIC:
        raise InputError(
            f"this is no GGUF file (it begins with {magic!r})",
            file=settings.gguf,
            mend="give the model in llama.cpp's format",
        )
    if importlib.util.find_spec("xllamacpp") is None:
        raise InputError("serving a GGUF file needs xllamacpp", mend=_EXTRA)


def _start(settings: ModelSettings, token: str | None) -> Any:
    import xllamacpp

    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(settings.gguf)
    parameters.model_alias = {settings.gguf.stem}
    parameters.hostnames = [settings.host]
    parameters.port = settings.port
    parameters.n_ctx = settings.context_tokens * settings.parallel
    parameters.n_parallel = settings.parallel
    parameters.n_gpu_layers = settings.gpu_layers
    parameters.cpuparams.n_threads = settings.threads
    parameters.cpuparams_batch.n_threads = settings.threads
    parameters.use_jinja = True
    parameters.ui = False
    parameters.offline = True
    parameters.verbosity = 1
    if token is not None:
        parameters.api_keys = [token]
    try:
        return xllamacpp.Server(parameters)
    except RuntimeError as error:
        mend = "try another --port or --host, or a smaller model; what llama.cpp wrote says which"
        raise InputError(f"llama.cpp cannot serve it: {error}", file=settings.gguf, mend=mend) from None
