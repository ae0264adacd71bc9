"""Who proposes: the tools, the turn, the scripted pilot and the searches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlipilot.endpoint.abilities import Memory
    from mlipilot.endpoint.client import Endpoint
    from mlipilot.pilots.pilot_settings import PilotSettings


@contextmanager
def open_pilot(
    settings: PilotSettings, published: Path | None = None, memory: Memory | None = None
) -> Iterator[Endpoint]:
    """The endpoint that `settings` name, ready to be asked; the scripted pilot's is served from a thread.

    `published` is the file of an endpoint that belongs to the run; `memory` holds what earlier sessions found
    out about endpoints. Raises InputError for an address, a key or a model that cannot be right, PausedError
    when the endpoint is down.
    """
    # Imported here, because reading a campaign file needs the settings only and should be quick.
    from mlipilot.endpoint.client import Endpoint
    from mlipilot.endpoint.opening import open_endpoint
    from mlipilot.pilots.history_told import BOUNDLESS_TOKENS
    from mlipilot.pilots.loopback import LoopbackServer
    from mlipilot.pilots.pilot_settings import LANGUAGE_MODELS
    from mlipilot.pilots.scripted import scripted_pilot

    if settings.kind in LANGUAGE_MODELS:
        yield open_endpoint(settings, published, memory)
        return
    if settings.kind != "scripted":
        raise AssertionError("a search asks no endpoint")
    own = {"trust_env": False, "context_tokens": BOUNDLESS_TOKENS}
    with LoopbackServer(scripted_pilot()) as server:  # which no proxy should see
        yield Endpoint(server.base_url, settings.kind, None, settings.model_copy(update=own))
