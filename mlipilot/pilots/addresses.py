"""Which endpoints a pilot asks, and whether each has an address."""

from __future__ import annotations

from pathlib import Path

from mlipilot.endpoint.address import find_address, takes_the_runs
from mlipilot.endpoint.endpoint_settings import EndpointSettings
from mlipilot.pilots.pilot_settings import LANGUAGE_MODELS, ROLES, PilotSettings


def asks_the_run(pilot: PilotSettings) -> bool:
    """Whether a role of this pilot takes the endpoint that is published in the run."""
    return any(map(takes_the_runs, _asked(pilot)))


def _asked(pilot: PilotSettings) -> list[EndpointSettings]:
    """The endpoints of the roles that are on; none of a replay or a pilot that asks no language model."""
    if pilot.kind not in LANGUAGE_MODELS or pilot.replay is not None:
        return []
    return list(filter(None, map(pilot.endpoint, ROLES)))


def check_addresses(pilot: PilotSettings, published: Path | None) -> None:
    """Whether every role that needs an endpoint has an address: better now than after the first training.

    Raises InputError as `find_address` does. Nothing is asked.
    """
    for settings in _asked(pilot):
        find_address(settings, published)
