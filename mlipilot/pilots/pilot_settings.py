"""The `pilot:` section of a campaign: who proposes, and where its model is reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from mlipilot.endpoint.endpoint_settings import ADDRESS_KEYS, OF_AN_ADDRESS, EndpointSettings
from mlipilot.errors import InputError

Kind = Literal["scripted", "openai", "random", "tpe", "cma-es", "hybrid"]
Role = Literal["researcher", "reviewer", "analyst"]
ROLES: tuple[Role, ...] = ("researcher", "reviewer", "analyst")
LANGUAGE_MODELS: frozenset[Kind] = frozenset({"openai", "hybrid"})
"""The kinds that ask a language model, and so need an endpoint."""
SEARCHES: dict[Kind, str] = {"random": "optuna", "tpe": "optuna", "cma-es": "cmaes", "hybrid": "optuna"}
"""The kinds that search the campaign's `space`, and the package of the extra `hpo` that each needs."""

NAMED = Path(__file__).with_name("named.yaml")
"""Settings that a campaign file gives by a name alone."""


class PilotSettings(EndpointSettings):
    """Who proposes. The endpoint's keys stand beside the others and are those of the researcher."""

    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,40}$")
    """What reports call this pilot; its kind, when not given."""

    kind: Kind = "scripted"
    """`scripted`: the small built-in pilot, no language model. `openai`: any OpenAI-compatible endpoint.
    `random`, `tpe`, `cma-es`: searches over the campaign's `space`. `hybrid`: a language model that leaves
    the numbers of the space to TPE."""

    replay: Path | None = None
    """A run whose transcripts answer in place of an endpoint. It stands for the whole of `pilot:` and
    `pilots:`, which are those of that run; a path that is not absolute begins in the working directory."""

    requests_per_turn: int = Field(default=30, ge=2)
    """How many replies the researcher has for one turn; a draft that comes back begins another."""

    reviewer: bool | dict[str, Any] = True
    """Whether a second role of the model sees each claim and its diff before anything is trained, and may
    send it back once; a mapping gives it another endpoint or model (keys of the endpoint). One that names
    `base_url` or `base_url_env` names another server: model, prices and the like are then not the
    researcher's, and no key is sent there unless `api_key_env` is named as well."""

    analyst: bool | dict[str, Any] = True
    """Whether a third role turns each outcome into one lesson for the notebook; a mapping as above."""

    smoke_retries: int = Field(default=3, ge=0, le=20)
    """How often a candidate that fails its smoke step goes back to the pilot."""

    @property
    def label(self) -> str:
        """What reports call this pilot."""
        own = self.name or self.kind
        return own if self.replay is None else f"replay of {own}"

    def endpoint(self, role: Role) -> EndpointSettings | None:
        """The endpoint of a role, or None when the role is off."""
        own: dict[str, Any] = {key: getattr(self, key) for key in EndpointSettings.model_fields}
        roles = {"researcher": True, "reviewer": self.reviewer, "analyst": self.analyst}
        chosen: bool | dict[str, Any] = roles[role]
        if chosen is False or (self.kind not in LANGUAGE_MODELS and role != "researcher"):
            return None
        if isinstance(chosen, dict) and chosen.keys() & ADDRESS_KEYS:
            own = {key: value for key, value in own.items() if key not in OF_AN_ADDRESS}
            own["api_key_env"] = None  # a key goes to no server for which it was not named
        return EndpointSettings.model_validate(own | (chosen if isinstance(chosen, dict) else {}))

    def endpoint_of(self, role: Role) -> EndpointSettings:
        """The endpoint of a role that a step calls for."""
        settings = self.endpoint(role)
        if settings is None:
            raise AssertionError(f"a step called for the {role}, which is off")
        return settings

    @model_validator(mode="after")
    def _address_fits_kind(self) -> PilotSettings:
        if self.kind not in LANGUAGE_MODELS and self.base_url is not None:
            raise ValueError(f"the {self.kind} pilot has no base_url: remove it, or set kind: openai")
        for role in ("reviewer", "analyst"):
            self.endpoint(role)  # raises for a key that no endpoint has
        return self


def missing_package(kind: Kind, file: Path | None = None, line: int | None = None) -> InputError:
    """What a user is told when the package of a search is not installed."""
    return InputError(
        f"the {kind} pilot needs the Python package {SEARCHES[kind]}, which is not installed",
        file=file,
        line=line,
        mend="pip install 'mlipilot[hpo]'",
    )
