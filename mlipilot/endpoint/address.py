"""Where a model is reached: the campaign file, what an endpoint job published in the run, the environment."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from mlipilot.confidential import keep
from mlipilot.endpoint.endpoint_settings import EndpointSettings, checked_address
from mlipilot.errors import InputError


@dataclass(frozen=True)
class Address:
    """A base URL and the key that goes with it, which is shown nowhere."""

    base_url: str
    key: str | None = field(repr=False)


def find_address(settings: EndpointSettings, published: Path | None) -> Address:
    """The address that holds now. Raises InputError when there is none, or it is not one.

    `published` is the file in which an endpoint of the run says where it is: a JSON object of `base_url`
    and `token`, readable by its owner only. A variable of the pilot's own goes before it.
    """
    key = os.environ.get(settings.api_key_env) if settings.api_key_env else None
    keep(key)
    if settings.base_url is not None:
        return Address(_checked(settings.base_url, "base_url"), key)
    if takes_the_runs(settings) and published is not None and published.is_file():
        try:
            said = json.loads(published.read_text(encoding="utf-8"))
            keep(said["token"])
            return Address(checked_address(said["base_url"]), said["token"])
        except PermissionError:
            raise InputError(
                "only the user whose job serves the model may read its address, which holds a key",
                file=published,
                mend="have that user go on, or end the model's job and resume: another one is asked for",
            ) from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"this is no published endpoint ({type(error).__name__})",
                file=published,
                mend="remove it, and start the endpoint again",
            ) from None
    found = os.environ.get(settings.base_url_env, "")
    if not found.strip():
        raise InputError(
            "the pilot needs an address",
            mend=f"write base_url under pilot:, export {settings.base_url_env}, "
            "or start an endpoint for the run (docs/pilots.md)",
        )
    return Address(_checked(found, settings.base_url_env), key)


def _checked(base_url: str, name: str) -> str:
    try:
        return checked_address(base_url)
    except ValueError as error:
        raise InputError(f"{name}: {error}", mend=f"correct {name}") from None


def takes_the_runs(settings: EndpointSettings) -> bool:
    """Whether the endpoint that is published in a run is this one: no address of its own is given."""
    own = settings.base_url_env != EndpointSettings.model_fields["base_url_env"].default
    return settings.base_url is None and not (own and os.environ.get(settings.base_url_env, "").strip())
