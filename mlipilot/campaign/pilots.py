"""The pilots of a campaign file: names stand for settings, and lineages take them in turn."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedMap

import mlipilot.pilots
from mlipilot.errors import InputError
from mlipilot.yaml_io import load_yaml

NAMED = Path(mlipilot.pilots.__file__).with_name("named.yaml")


def expand_names(data: CommentedMap, path: Path) -> None:
    """Put the settings of named pilots in place of their names. Raises InputError for an unknown name."""
    if isinstance(data.get("pilot"), str):
        data["pilot"] = _named(data["pilot"], path, data.lc.key("pilot")[0] + 1 if data.lc.data else None)
    if isinstance(data.get("pilots"), list):
        for index, entry in enumerate(data["pilots"]):
            if isinstance(entry, str):
                lines = getattr(data["pilots"], "lc", None)
                line = lines.item(index)[0] + 1 if lines is not None and lines.data else None
                data["pilots"][index] = _named(entry, path, line)


def _named(name: str, path: Path, line: int | None) -> CommentedMap:
    known = load_yaml(NAMED)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        mend = f"did you mean {near[0]!r}?" if near else f"the named pilots are: {', '.join(known)}"
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
