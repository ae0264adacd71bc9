"""Who proposes: the endpoint client, the tools, the turn, the scripted pilot and the searches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlipilot.pilots.endpoint.abilities import Memory
    from mlipilot.pilots.endpoint.client import Endpoint
    from mlipilot.pilots.loopback import LoopbackServer
    from mlipilot.pilots.sampling import Search
    from mlipilot.pilots.settings import EndpointSettings, PilotSettings


@contextmanager
def open_pilot(
    settings: PilotSettings,
    published: Path | None = None,
    memory: Memory | None = None,
    search: Search | None = None,
) -> Iterator[Endpoint]:
    """The endpoint that `settings` name, ready to be asked; without a language model, served from a thread.

    `published` is the file of an endpoint that belongs to the run; `memory` holds what earlier sessions found
    out about endpoints; `search` is what a search pilot needs. Raises InputError for an address, a key or a
    model that cannot be right and for a package that is not installed, PausedError when the endpoint is down.
    """
    # Imported here, because reading a campaign file needs the settings only and should be quick.
    from mlipilot.pilots.context import BOUNDLESS_TOKENS
    from mlipilot.pilots.endpoint.client import Endpoint
    from mlipilot.pilots.settings import LANGUAGE_MODELS

    if settings.kind in LANGUAGE_MODELS:
        yield open_endpoint(settings, published, memory)
        return
    own = {"trust_env": False, "context_tokens": BOUNDLESS_TOKENS}
    with _loopback(settings, search) as server:  # which no proxy should see
        yield Endpoint(server.base_url, settings.kind, None, settings.model_copy(update=own))


def _loopback(settings: PilotSettings, search: Search | None) -> LoopbackServer:
    from mlipilot.pilots.scripted import ScriptedServer
    from mlipilot.pilots.search import SearchServer

    if settings.kind == "scripted":
        return ScriptedServer()
    if search is None:
        raise AssertionError("a search pilot searches a space")
    return SearchServer(search)


def open_endpoint(
    settings: EndpointSettings, published: Path | None = None, memory: Memory | None = None
) -> Endpoint:
    """One model at the address that holds now, asked as `memory` says or else as a probe finds out.

    Raises as `open_pilot` does.
    """
    from mlipilot.pilots.endpoint.abilities import Abilities, Finding
    from mlipilot.pilots.endpoint.address import find_address
    from mlipilot.pilots.endpoint.client import Endpoint
    from mlipilot.pilots.endpoint.probe import find_abilities

    address = find_address(settings, published)
    model = settings.model or _only_model(Endpoint(address.base_url, "", address.key, settings))

    def learnt(abilities: Abilities, why: str) -> None:
        if memory is not None:
            memory.note(Finding(address.base_url, model, abilities, why))

    known = memory.recall(address.base_url, model) if memory is not None else None
    if known is None:
        finding = find_abilities(Endpoint(address.base_url, model, address.key, settings))
        known = finding.abilities
        if memory is not None:
            memory.note(finding)
    return Endpoint(address.base_url, model, address.key, settings, known, learnt)


def _only_model(endpoint: Endpoint) -> str:
    from mlipilot.errors import InputError
    from mlipilot.untrusted import one_line

    names = endpoint.models()
    if len(names) != 1:
        listed = ", ".join(one_line(name, 80) for name in sorted(names)[:20]) or "none"
        raise InputError(
            f"the endpoint serves {len(names)} models", mend=f"set model under pilot:; it has {listed}"
        )
    return names[0]
