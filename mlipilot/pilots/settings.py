"""The `pilot:` section of a campaign: which endpoint proposes, and how patiently it is asked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

BASE_URL_VARIABLE = "OPENAI_BASE_URL"


class PilotSettings(BaseModel):
    """Who proposes. The API key itself is never part of it: it is read from the environment when needed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["scripted", "openai"] = "scripted"
    """`scripted`: the small built-in pilot, no language model. `openai`: any OpenAI-compatible endpoint."""

    base_url: str | None = None
    """Where `/chat/completions` lies, such as `http://node7:8000/v1`; for `openai` the variable
    OPENAI_BASE_URL is taken, once, when this is not given, so that a run keeps the address it began with."""

    model: str | None = None
    """The model's name at the endpoint; not needed when the endpoint serves exactly one."""

    api_key_env: str = Field(default="OPENAI_API_KEY", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """The name of the environment variable that holds the API key; an unset variable sends no key."""

    temperature: float | None = Field(default=None, ge=0, le=2)
    """Sampling temperature; None leaves it to the endpoint."""

    max_tokens: int = Field(default=4096, ge=64)
    """The longest reply, in tokens; a reply cut off there is never carried out."""

    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the endpoint calls the limit above; some accept only the second."""

    request_timeout_s: float = Field(default=300, gt=0)
    """Wall-clock limit of one request, from connecting to the last byte of the reply."""

    max_retries: int = Field(default=5, ge=0, le=100)
    """How often a failed request is sent again before the lineage pauses."""

    backoff_s: float = Field(default=1.0, ge=0, le=60)
    """The wait before the first retry; it doubles with each further one, up to a minute."""

    requests_per_turn: int = Field(default=30, ge=2)
    """How many replies the pilot has for one iteration."""

    ca_bundle: Path | None = None
    """A PEM file of the certificate authorities to trust, for endpoints behind a site's own authority."""

    trust_env: bool = True
    """Whether proxies of the environment (HTTPS_PROXY, NO_PROXY, ...) are used."""

    @model_validator(mode="before")
    @classmethod
    def _address_from_environment(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("kind") != "openai" or data.get("base_url") is not None:
            return data
        found = os.environ.get(BASE_URL_VARIABLE, "").strip()
        return {**data, "base_url": found} if found else data

    @field_validator("base_url")
    @classmethod
    def _plain_http(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        _ = parts.port  # raises ValueError, with a clear text, for a port that is none
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("an address such as http://node7:8000/v1 is expected")
        if parts.username is not None or parts.password is not None:
            raise ValueError("an address holds no password: put the key into the variable of api_key_env")
        if parts.query or parts.fragment:
            raise ValueError("an address ends with its path, such as /v1: no '?' and no '#'")
        return value.rstrip("/").removesuffix("/chat/completions")

    @model_validator(mode="after")
    def _address_fits_kind(self) -> PilotSettings:
        if self.kind == "openai" and self.base_url is None:
            raise ValueError(
                f"kind 'openai' needs an address: write base_url under pilot:, or export {BASE_URL_VARIABLE}"
            )
        if self.kind == "scripted" and self.base_url is not None:
            raise ValueError("the scripted pilot has no base_url: remove it, or set kind: openai")
        return self
