"""Who proposes: the endpoint client, the tools, the turn, and the scripted pilot."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlipilot.pilots.client import Endpoint
    from mlipilot.pilots.settings import PilotSettings


@contextmanager
def open_pilot(settings: PilotSettings) -> Iterator[Endpoint]:
    """The endpoint that `settings` name, ready to be asked; the scripted one is served from a thread.

    Raises InputError for a key or a model that cannot be right, PausedError when the endpoint is down.
    """
    # Imported here, because reading a campaign file needs the settings only and should be quick.
    from mlipilot.pilots.client import Endpoint
    from mlipilot.pilots.scripted import MODEL, ScriptedServer

    if settings.kind == "scripted":
        with ScriptedServer() as server:
            direct = settings.model_copy(update={"trust_env": False})  # never through a proxy
            yield Endpoint(server.base_url, MODEL, None, direct)
        return
    assert settings.base_url is not None  # noqa: S101 - the settings' validator saw to it
    key = os.environ.get(settings.api_key_env)
    model = settings.model or _only_model(Endpoint(settings.base_url, "", key, settings))
    yield Endpoint(settings.base_url, model, key, settings)


def _only_model(endpoint: Endpoint) -> str:
    from mlipilot.errors import InputError

    names = endpoint.models()
    if len(names) != 1:
        listed = ", ".join(sorted(names)[:20]) or "none"
        raise InputError(
            f"the endpoint serves {len(names)} models", mend=f"set model under pilot:; it has {listed}"
        )
    return names[0]
