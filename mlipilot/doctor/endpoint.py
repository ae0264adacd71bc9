"""The pilot's endpoint: does it answer from here, and does it serve the model."""

from __future__ import annotations

import os

from pydantic import ValidationError

from mlipilot.doctor.check import Check, failed, ok, skipped
from mlipilot.errors import InputError, PausedError
from mlipilot.pilots.settings import BASE_URL_VARIABLE, PilotSettings

TIMEOUT_S = 10.0


def check_endpoint(pilot: PilotSettings | None) -> Check:
    """Ask for the list of models, through proxies and with the key, as a run would."""
    if pilot is None:
        if not os.environ.get(BASE_URL_VARIABLE, "").strip():
            return skipped(
                "endpoint", f"none to ask: {BASE_URL_VARIABLE} is not set and no campaign is given"
            )
        try:
            pilot = PilotSettings(kind="openai")
        except ValidationError as error:
            said = error.errors()[0]["msg"]
            return failed("endpoint", f"{BASE_URL_VARIABLE}: {said}", f"correct {BASE_URL_VARIABLE}")
    if pilot.kind == "scripted":
        return skipped("endpoint", "not needed: the scripted pilot serves its own")
    # requests takes a while to import, and most campaigns here have no endpoint.
    from mlipilot.pilots.client import Endpoint

    key = os.environ.get(pilot.api_key_env)
    patient = pilot.model_copy(update={"request_timeout_s": TIMEOUT_S, "max_retries": 0})
    sent = (
        f"with the key of {pilot.api_key_env}" if key else f"without a key, as {pilot.api_key_env} is not set"
    )
    try:
        names = Endpoint(pilot.base_url or "", "", key, patient).models()
    except InputError as error:
        return failed("endpoint", str(error), f"correct {pilot.api_key_env}, or pilot.ca_bundle")
    except PausedError as error:
        mend = (
            f"start it, or correct pilot.base_url ({BASE_URL_VARIABLE}); a host that no proxy should serve "
            "belongs into NO_PROXY, a site's own certificate authority into pilot.ca_bundle"
        )
        return failed("endpoint", f"{error} (asked {sent})", mend)
    return _check_model(pilot, sorted(names), sent)


def _check_model(pilot: PilotSettings, names: list[str], sent: str) -> Check:
    listed = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "") or "none"
    found = f"{pilot.base_url} answers ({sent}); its models: {listed}"
    if pilot.model is None:
        if len(names) == 1:
            return ok("endpoint", f"{found}, which will be asked")
        return failed("endpoint", f"{found}; pilot.model names none", "set pilot.model to one of them")
    # Ollama lists what is called NAME as NAME:latest.
    if pilot.model in names or f"{pilot.model}:latest" in names:
        return ok("endpoint", f"{found}; {pilot.model} is among them")
    return failed("endpoint", f"{found}; {pilot.model} is not among them", "set pilot.model to one of them")
