"""The pilot's endpoint: does it answer from here, and does it serve the model."""

from __future__ import annotations

import os

from mlipilot.doctor.check import Check, failed, ok, skipped
from mlipilot.errors import InputError, PausedError
from mlipilot.pilots.settings import LANGUAGE_MODELS, PilotSettings

TIMEOUT_S = 10.0


def check_endpoint(pilot: PilotSettings | None) -> Check:
    """Ask for the list of models, through proxies and with the key, as a run would."""
    if pilot is None:
        pilot = PilotSettings(kind="openai")
        if not os.environ.get(pilot.base_url_env, "").strip():
            return skipped(
                "endpoint", f"none to ask: {pilot.base_url_env} is not set and no campaign is given"
            )
    if pilot.kind not in LANGUAGE_MODELS:
        return skipped("endpoint", f"not needed: the {pilot.kind} pilot asks no language model")
    # requests takes a while to import, and most campaigns here have no endpoint.
    from mlipilot.pilots.endpoint.address import find_address
    from mlipilot.pilots.endpoint.client import Endpoint

    try:
        address = find_address(pilot, published=None)
    except InputError as error:
        return failed("endpoint", str(error), "see docs/pilots.md")
    key = address.key
    patient = pilot.model_copy(update={"request_timeout_s": TIMEOUT_S, "max_retries": 0})
    sent = (
        f"with the key of {pilot.api_key_env}" if key else f"without a key, as {pilot.api_key_env} is not set"
    )
    try:
        names = Endpoint(address.base_url, "", key, patient).models()
    except InputError as error:
        return failed("endpoint", str(error), f"correct {pilot.api_key_env}, or pilot.ca_bundle")
    except PausedError as error:
        mend = (
            f"start it, or correct pilot.base_url ({pilot.base_url_env}); a host that no proxy should serve "
            "belongs into NO_PROXY, a site's own certificate authority into pilot.ca_bundle"
        )
        return failed("endpoint", f"{error} (asked {sent})", mend)
    return _check_model(pilot, address.base_url, sorted(names), sent)


def _check_model(pilot: PilotSettings, base_url: str, names: list[str], sent: str) -> Check:
    listed = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "") or "none"
    found = f"{base_url} answers ({sent}); its models: {listed}"
    if pilot.model is None:
        if len(names) == 1:
            return ok("endpoint", f"{found}, which will be asked")
        return failed("endpoint", f"{found}; pilot.model names none", "set pilot.model to one of them")
    # Ollama lists what is called NAME as NAME:latest.
    if pilot.model in names or f"{pilot.model}:latest" in names:
        return ok("endpoint", f"{found}; {pilot.model} is among them")
    return failed("endpoint", f"{found}; {pilot.model} is not among them", "set pilot.model to one of them")
