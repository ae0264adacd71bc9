"""The pilots of a campaign file: names stand for settings, and lineages take them in turn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedMap

from mlipilot.errors import InputError
from mlipilot.nearness import did_you_mean
from mlipilot.pilots.pilot_settings import LANGUAGE_MODELS, NAMED, ROLES, PilotSettings
from mlipilot.yaml_io import line_of, load_yaml


def expand_names(data: CommentedMap, path: Path) -> None:
    """Put the settings of named pilots in place of their names. Raises InputError for an unknown name."""
    if isinstance(data.get("pilot"), str):
        data["pilot"] = _named(data["pilot"], path, line_of(data, ("pilot",)))
    if isinstance(data.get("pilots"), list):
        for index, entry in enumerate(data["pilots"]):
            if isinstance(entry, str):
                data["pilots"][index] = _named(entry, path, line_of(data, ("pilots", index)))


def _named(name: str, path: Path, line: int | None) -> CommentedMap:
    known = load_yaml(NAMED)
    if name not in known:
        mend = did_you_mean(name, known, "the named pilots are")
        raise InputError(f"there is no pilot named {name!r}", file=path, line=line, mend=mend)
    settings: CommentedMap = known[name]
    settings["name"] = name
    return settings


def first_of(data: Any) -> Any:
    """A campaign's `pilot` when it lists `pilots`: the first. Raises ValueError when it has another, too."""
    if not isinstance(data, dict) or not data.get("pilots"):
        return data
    listed = data["pilots"]
    if isinstance(data.get("pilot"), dict) and data["pilot"].get("replay"):
        return data  # it stands for them all
    if "pilot" not in data and isinstance(listed, list):
        return {**data, "pilot": listed[0]}
    if isinstance(listed, list) and data["pilot"] != listed[0]:
        raise ValueError("give either pilot or pilots, not both")
    return data


def check_prices(pilots: Sequence[PilotSettings], data: Any, path: Path) -> None:
    """Every pilot that asks a language model has a price, for a budget in US dollars. Raises InputError."""
    for index, pilot in enumerate(pilots):
        if pilot.kind not in LANGUAGE_MODELS or pilot.replay is not None:
            continue
        endpoints = [endpoint for role in ROLES if (endpoint := pilot.endpoint(role)) is not None]
        if not any(endpoint.price_usd(1_000_000, 1_000_000) for endpoint in endpoints):
            where = f"pilots[{index}]" if data.get("pilots") else "pilot"
            raise InputError(
                f"'budget.usd' is never used up: the {pilot.label} pilot has no prices",
                file=path,
                line=line_of(data, ("budget", "usd")),
                mend=f"set usd_per_million_prompt_tokens and usd_per_million_completion_tokens of '{where}', "
                "or leave budget.usd out",
            )
