"""The pilot's endpoint: does it answer from here, serve the model, and make the model call tools."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlipilot.confidential import LEAST, keep
from mlipilot.doctor.check import Check, failed, ok, skipped, warning
from mlipilot.endpoint.endpoint_settings import EndpointSettings
from mlipilot.errors import InputError, PausedError
from mlipilot.pilots.pilot_settings import LANGUAGE_MODELS, ROLES, PilotSettings
from mlipilot.untrusted import few, one_line

if TYPE_CHECKING:
    from mlipilot.endpoint.client import Endpoint

TIMEOUT_S = 10.0
"""Of the list of models."""
TRIAL_S = 180.0
"""Of everything that the model itself is asked."""
_SPEED_TOKENS = 64
_MEND_REACH = (
    "start it, or correct pilot.base_url ({variable}); a host that no proxy should serve belongs into "
    "NO_PROXY, a site's own certificate authority into pilot.ca_bundle"
)
_MEND_CALL = (
    "start the server with its tool parser (vLLM: --enable-auto-tool-choice --tool-call-parser NAME; "
    "llama.cpp: --jinja), set pilot.mode, or take a model that was trained to call tools"
)


def check_endpoints(pilots: Sequence[PilotSettings] | None, published: Path | None = None) -> Iterator[Check]:
    """One line for each endpoint that a campaign's pilots ask: those that roles share are asked once.

    None: no campaign is given, and the environment may name an endpoint. `published` is the file of an
    endpoint that belongs to the run.
    """
    if pilots is None:
        pilot = PilotSettings(kind="openai")
        if os.environ.get(pilot.base_url_env, "").strip():
            yield check_endpoint(pilot)
        else:
            why = f"none to ask: {pilot.base_url_env} is not set and no campaign is given"
            yield skipped("endpoint", why)
        return
    tried: list[EndpointSettings] = []
    several = len({pilot.label for pilot in pilots}) > 1
    for pilot in pilots:
        for role in ROLES if pilot.kind in LANGUAGE_MODELS and pilot.replay is None else ():
            settings = pilot.endpoint(role)
            if settings is not None and settings not in tried:
                tried.append(settings)
                whose = " ".join([pilot.label] * several + [role] * (role != "researcher"))
                yield check_endpoint(settings, f"endpoint ({whose})" if whose else "endpoint", published)
    if not tried:
        replayed = [f"{pilot.replay} is replayed" for pilot in pilots if pilot.replay is not None]
        yield skipped("endpoint", f"not needed: {', '.join(replayed) or 'no language model is asked'}")


def check_endpoint(pilot: EndpointSettings, name: str = "endpoint", published: Path | None = None) -> Check:
    """Ask for the models, through proxies and with the key as a run would, then try the model out."""
    return dataclasses.replace(_check(pilot, published), name=name)


def _check(pilot: EndpointSettings, published: Path | None) -> Check:
    # requests takes a while to import, and most campaigns here have no endpoint.
    from mlipilot.endpoint.address import find_address, takes_the_runs
    from mlipilot.endpoint.client import Endpoint
    from mlipilot.endpoint.opening import chosen_model

    served = os.environ.get("MLIPILOT_ENDPOINT", "")
    of_the_run = takes_the_runs(pilot) and published is not None and published.is_file()
    if served and takes_the_runs(pilot) and not of_the_run:
        if Path(served).exists():
            return skipped("endpoint", f"a job of the campaign serves {served}: it is tried out by the run")
        return failed("endpoint", f"there is no model at MLIPILOT_ENDPOINT={served}", "correct or unset it")
    try:
        address = find_address(pilot, published)
    except InputError as error:
        return failed("endpoint", str(error), "see docs/pilots.md")
    key = address.key
    patience = {"max_retries": 0, "loading_patience_s": 0.0}
    quick = pilot.model_copy(update=patience | {"request_timeout_s": TIMEOUT_S})
    sent = (
        f"with the token in {published}"
        if of_the_run
        else f"with the key of {pilot.api_key_env}"
        if keep(key)
        else f"with a placeholder: under {LEAST} letters and digits, {pilot.api_key_env} is not kept secret"
        if key
        else f"without a key, as {pilot.api_key_env or 'api_key_env'} is not set"
    )
    try:
        names = sorted(Endpoint(address.base_url, "", key, quick).models())
    except InputError as error:
        return failed(
            "endpoint", str(error), f"correct {pilot.api_key_env or 'api_key_env'}, or pilot.ca_bundle"
        )
    except PausedError as error:
        return failed("endpoint", f"{error} (asked {sent})", _MEND_REACH.format(variable=pilot.base_url_env))
    found = f"{address.base_url} answers ({sent})"
    model = chosen_model(pilot.model, names)
    if model is None:
        listed = few([one_line(name, 80) for name in names]) or "none"
        wrong = f"{pilot.model} is not among its models" if pilot.model else "pilot.model names none"
        return failed("endpoint", f"{found}; {wrong}: {listed}", "set pilot.model to one of them")
    settings = pilot.model_copy(update=patience)
    until = time.monotonic() + TRIAL_S
    endpoint = Endpoint(address.base_url, model, key, settings, until=until)
    return _tried_out(endpoint, f"{found}; {one_line(model, 80)}")


def _tried_out(endpoint: Endpoint, found: str) -> Check:
    """How the model calls tools, whether it does when asked, how long its context is, how fast it writes."""
    from mlipilot.endpoint.probe import find_abilities
    from mlipilot.endpoint.trial import TRIAL_MESSAGES, TRIAL_TOKENS, TRIAL_TOOLS, is_right

    try:
        finding = find_abilities(endpoint)
        trial = endpoint.otherwise(finding.abilities, TRIAL_TOKENS).complete(TRIAL_MESSAGES, TRIAL_TOOLS)
        speed = _tokens_per_s(endpoint.otherwise(finding.abilities, _SPEED_TOKENS))
    except PausedError as error:
        mend = (
            f"correct the server or pilot.model; a model that needs more than {TRIAL_S:g} s for this is slow"
        )
        return failed("endpoint", f"{found}: {error}", mend)
    size = finding.abilities.context_tokens
    context = f"context of {size} tokens" if size else "context size not said (set pilot.context_tokens)"
    told = f"mode {finding.abilities.mode}, {context}, {speed}"
    if is_right(trial.reply):
        return ok("endpoint", f"{found} made a tool call: {told}")
    return warning("endpoint", f"{found} made no right tool call ({finding.why}): {told}", _MEND_CALL)


def _tokens_per_s(endpoint: Endpoint) -> str:
    counting = [{"role": "user", "content": "Count from one to fifty, in words."}]
    exchange = endpoint.complete(counting, [])
    tokens = exchange.reply.completion_tokens
    return f"{tokens / exchange.duration_s:.3g} tokens/s" if tokens else "tokens/s not said"
