"""One `--set NAME=VALUE`; and that neither it nor a campaign's file holds a key, which no error may show."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlipilot.confidential import keep, suspicion
from mlipilot.endpoint.endpoint_settings import EndpointSettings
from mlipilot.errors import InputError
from mlipilot.yaml_io import line_of
from mlipilot.yaml_text import NotYamlError, parse_yaml

_MEND = (
    "a key belongs into the variable of the environment whose name api_key_env says, and into no file and "
    "no command line; an address ends with its path, such as /v1"
)


def parse_override(text: str) -> tuple[str, Any]:
    """The name and the value of `NAME=VALUE`, which is YAML. Raises InputError, which shows no value."""
    name, separator, written = text.partition("=")
    name = name.strip()
    if not separator or not all(name.split(".")) or suspicion("", name):
        shown = "" if suspicion("", text) else f" {text!r}"
        raise InputError(
            f"--set{shown}: KEY=VALUE is expected", mend="give it as in --set budget.iterations=3"
        )
    try:
        value = parse_yaml(written)
    except NotYamlError:
        raise InputError(f"--set {name}: the value is not YAML", mend="give a text in quotes") from None
    check_no_keys({name: value})
    return name, value


def check_no_keys(data: Any, path: Path | None = None) -> None:
    """Refuse whatever in a campaign's `path`, or in a `--set`, is a key or may be one. Raises InputError.

    The keys that the named variables hold are found in every form; others by their name and their looks.
    """
    found = list(_words(data, (), set()))
    variables = [word for place, word in found if place[-1] == "api_key_env" and isinstance(word, str)]
    for variable in [EndpointSettings.model_fields["api_key_env"].default, *variables]:
        keep(os.environ.get(variable))
    for place, word in found:
        is_name = place[-1] is None
        why = suspicion("" if is_name else _name(place), word)
        if why is not None:
            where = ".".join(map(str, place[:-1] if is_name else place)) or "the file"
            line = None if path is None else line_of(data, (*place[:-1], word) if is_name else place)
            what = f"{'--set ' if path is None else ''}{where}: {why}, and not shown here"
            raise InputError(what, file=path, line=line, mend=_MEND)


def _words(value: Any, place: tuple[Any, ...], seen: set[int]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every value that is no mapping and no sequence, with its place; every name, with None for its own."""
    if not isinstance(value, dict | list):
        if value is not None and not isinstance(value, bool):
            yield place, value
        return
    if id(value) in seen:  # aliases, which may be many
        return
    seen.add(id(value))
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(value, dict):
            yield (*place, None), key
        yield from _words(item, (*place, key), seen)


def _name(place: tuple[Any, ...]) -> str:
    """What a value is called: the last name of its place, dotted or not."""
    return next((part for part in reversed(place) if isinstance(part, str)), "").rpartition(".")[2]
