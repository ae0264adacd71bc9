"""The settings of an endpoint: which model, where it is reached, how it is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, Field, field_validator

from mlipilot.confidential import holds_key, looks_like_key

Mode = Literal["auto", "native", "json_schema", "json_object", "prompt"]

ADDRESS_KEYS = frozenset({"base_url", "base_url_env"})
OF_AN_ADDRESS = ADDRESS_KEYS | {
    "model",
    "api_key_env",
    "mode",
    "context_tokens",
    "max_tokens_field",
    "ca_bundle",
    "usd_per_million_prompt_tokens",
    "usd_per_million_completion_tokens",
}
"""What is true of one server only: a role with another address has none of it from the researcher."""


class EndpointSettings(BaseModel, extra="forbid", frozen=True):
    """One model at one address. The API key itself is never part of it: it is read when needed."""

    base_url: str | None = None
    """Where `/chat/completions` lies, such as `http://node7:8000/v1`. Not given, the address is what
    `mlipilot endpoint` published in the run, else the variable of `base_url_env`; both may change from one
    session of a run to the next."""

    base_url_env: str = Field(default="OPENAI_BASE_URL", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """The name of the environment variable that holds the address when `base_url` is not given."""

    model: str | None = None
    """The model's name at the endpoint; not needed when the endpoint serves exactly one."""

    api_key_env: str | None = Field(default="OPENAI_API_KEY", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """The name of the environment variable that holds the API key; an unset one, or null, sends no key."""

    mode: Mode = "auto"
    """How tools are called: `auto` finds out what the endpoint can do, once, and the run remembers it."""

    context_tokens: int | None = Field(default=None, ge=1024)
    """The context size; None asks the endpoint, which does not always say."""

    temperature: float | None = Field(default=None, ge=0, le=2)
    """Sampling temperature; None leaves it to the endpoint."""

    max_tokens: int = Field(default=4096, ge=64)
    """The longest reply, in tokens, and never more than a quarter of the context; a reply cut off there is
    never carried out."""

    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the endpoint calls the limit above; one that refuses the first is given the second."""

    request_timeout_s: float = Field(default=300, gt=0)
    """Wall-clock limit of one request, from connecting to the last byte of the reply."""

    max_retries: int = Field(default=5, ge=0, le=100)
    """How often a failed request is sent again before the lineage pauses."""

    backoff_s: float = Field(default=1.0, ge=0, le=60)
    """The wait before the first retry; it doubles with each further one, up to a minute."""

    loading_patience_s: float = Field(default=900, ge=0)
    """How long an endpoint is waited for that says it is loading its model."""

    ca_bundle: Path | None = None
    """A PEM file of the certificate authorities to trust, for endpoints behind a site's own authority."""

    trust_env: bool = True
    """Whether proxies of the environment (HTTPS_PROXY, NO_PROXY, ...) are used."""

    usd_per_million_prompt_tokens: float = Field(default=0.0, ge=0)
    """Price of what is sent; 0 where nothing is charged."""

    usd_per_million_completion_tokens: float = Field(default=0.0, ge=0)
    """Price of what is received; 0 where nothing is charged."""

    def price_usd(self, prompt_tokens: int, completion_tokens: int) -> float:
        """What so many tokens cost, in US dollars."""
        sent = prompt_tokens * self.usd_per_million_prompt_tokens
        received = completion_tokens * self.usd_per_million_completion_tokens
        return round((sent + received) / 1e6, 9)

    @field_validator("base_url")
    @classmethod
    def _plain_http(cls, value: str | None) -> str | None:
        return None if value is None else checked_address(value)


_EXPECTED = "an address such as http://node7:8000/v1 is expected"


def checked_address(value: str) -> str:
    """A base URL in its plain form. Raises ValueError, which does not show it, for what is no address, or
    holds a secret: it is written into every record.
    """
    value = value.strip()
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError as error:  # some of its texts quote a part that may be a password
        raise ValueError(str(error) if str(error).startswith("Port out of range") else _EXPECTED) from None
    is_one_word = value.isprintable() and " " not in value
    if parts.scheme not in ("http", "https") or not parts.hostname or not is_one_word:
        raise ValueError(_EXPECTED)
    if parts.username is not None or parts.password is not None:
        raise ValueError("an address holds no password: put the key into the variable of api_key_env")
    if set("?#;=") & set(value):
        raise ValueError("an address ends with its path, such as /v1: no '?', '#', ';' or '='")
    if looks_like_key(unquote(value)) or holds_key(value):
        raise ValueError(
            "a part of the address's path looks like a key: put the key into the variable of api_key_env"
        )
    return value.rstrip("/").removesuffix("/chat/completions")
