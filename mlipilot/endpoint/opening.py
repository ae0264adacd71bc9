"""Opening an endpoint: its address, its model, and how it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mlipilot.endpoint.abilities import Abilities, Finding, Memory
from mlipilot.endpoint.address import find_address
from mlipilot.endpoint.client import Endpoint
from mlipilot.endpoint.endpoint_settings import EndpointSettings
from mlipilot.endpoint.probe import find_abilities
from mlipilot.errors import InputError
from mlipilot.untrusted import few, one_line


def open_endpoint(
    settings: EndpointSettings, published: Path | None = None, memory: Memory | None = None
) -> Endpoint:
    """One model at the address that holds now, asked as `memory` says or else as a probe finds out.

    Raises InputError for an address, a key or a model that cannot be right, PausedError when it is down.
    """
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


def chosen_model(named: str | None, served: Sequence[str]) -> str | None:
    """The model that is `named`, or else the only one, of those `served`; None when there is none."""
    if named is None:
        return served[0] if len(served) == 1 else None
    # Ollama lists what is called NAME as NAME:latest.
    return named if {named, f"{named}:latest"} & set(served) else None


def _only_model(endpoint: Endpoint) -> str:
    names = endpoint.models()
    model = chosen_model(None, names)
    if model is None:
        listed = few([one_line(name, 80) for name in sorted(names)]) or "none"
        raise InputError(
            f"the endpoint serves {len(names)} models", mend=f"set model under pilot:; it has {listed}"
        )
    return model
